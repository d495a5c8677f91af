"""Check the English of docstrings, comments and messages, as far as a machine can.

Run ``python -m tests.docstring_rules [FILE OR FOLDER…]`` to print the violations by folder; without arguments it looks
at ``landscape``, ``quant`` and ``benchmarks``. A new verb that opens a docstring is added to ``VERBS`` by hand, so that
nobody takes a noun for one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("landscape", "quant", "benchmarks")

_VERBS = """
abort accept accumulate adapt add address adjust adopt advance advise align allocate answer append apply approximate
arrange ask assemble assert assign attach average begin bind bisect bound bracket break bring broadcast build bundle
cache calibrate call cancel cap capture cast catch center centre change check choose claim classify clear clip clone
close cluster collect combine commit compact compare compose compress compute concatenate condense confirm connect
construct continue convert copy correct count cover create crop cross cut dampen decide declare decode decompose
decompress decorate decrease deduplicate define delete dequantize derive describe detach detect determine
differentiate discard dispatch display dissect divide do download draw drop duplicate embed emit enable encode end
enforce ensure enter enumerate escape estimate evaluate examine exceed exclude exit expand explain export express
extend extract extrapolate factor factorize fail feed fetch fill filter find fine-tune finish fit fix flag flatten
flush fold follow forbid force forecast foretell forget format forward freeze fuse gather generate get give go group
grow guard halve hand handle hash hide hold identify ignore imitate implement import include increase index infer
inherit initialize insert inspect install integrate interleave interpolate interpret intersect invert invite iterate
join judge keep label lay lead leave lend let lift limit link list load locate lock log look lower make map mark mask
match measure mend merge minimize mirror mix modify mount move multiply name narrow negate normalize note notice
observe offer omit open optimize order orthogonalize outline overwrite pack pad paint pair parse partition pass patch
penalize perform permute perturb pick pin place plan plot point pool populate predict prefer prepare preserve print
probe process produce profile project propose protect prove provide prune pull push put quantize quote raise rank rate
reach read rebuild recall recompute reconstruct record recover reduce refer refine refuse register rehearse reject
relate relax release remember remove rename render reorder repack repair repeat replace replay report reproduce
request require resample rescale reset reshape resolve restate restore restrict resume retrieve retry return reuse
reveal reverse rewrite rotate round route run sample save say scale scan scatter schedule score seal search seed
select send separate serialize set settle shape share shift shorten show shrink shuffle sign silence simulate sketch
skip slice smooth solve sort span specify spell split square stack stand standardize start state step stop store
stream stretch strip structure substitute subtract suggest sum summarize supply support suppress swap sweep switch
synchronize tabulate take tally test thin throw tie time tokenize trace track train transform translate transpose
treat trigger trim truncate try turn undo unfold unify unite unpack unwrap update upload use validate vary verify view
visit wait walk warn watch weigh weight wrap write yield
"""
VERBS = frozenset(_VERBS.split())
"""Verbs that may open a docstring, in the imperative."""

_OPENINGS = """
a after all an another as at before beside both by does each every everything for four from half how if in is it
its never no not nothing of on one only other our so some something that the their these this those three to two
what when where whether which who whose why with
"""
OPENINGS = frozenset(_OPENINGS.split())
"""Words that cannot open an imperative sentence."""

_NOUN_PHRASE_OPENINGS = """
after as before by does for from how if in is it its never not nothing of on so something that their these this
those to what when where which who whose why with
"""
NOUN_PHRASE_OPENINGS = frozenset(_NOUN_PHRASE_OPENINGS.split())
"""Words that cannot open a noun phrase which stands alone in ``help()``; "Whether" may, for properties alone."""

WORDING = (
    (re.compile(r"\b(tell|tells|told)\b", re.I), "say, show, report or give in place of {!r}"),
    (re.compile(r"\bcan(not|'t| not) be had\b", re.I), "“is not available” in place of {!r}"),
    (re.compile(r"\b(to|can|could|may) be had\b", re.I), "“available” or “left” in place of {!r}"),
    (re.compile(r"\b(puts?|putting) out\b", re.I), "“output” in place of {!r}"),
    (re.compile(r"\bfor who\b", re.I), "“for readers who” in place of {!r}"),
)
"""Words to avoid anywhere, and what to write."""

_SENTENCE = re.compile(r"(?:\A|(?<=[.!?])\s+|\n\s*\n\s*|\n\s*\*{0,2}\w+: +)(Of|That|What)\b")
"""A sentence, or the description of an argument, that begins so."""
_FIRST = re.compile(r"[^\W\d_][\w’'-]*")


@dataclass(frozen=True, order=True)
class Violation:
    """One place that breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class _Docstring:
    """One docstring and what it belongs to."""

    kind: str
    """``module``, ``class``, ``function``, ``property`` or ``attribute``."""
    name: str
    line: int
    text: str


def violations(path: str, source: str) -> list[Violation]:
    """Check the text of one Python file."""
    tree = ast.parse(source)
    docstrings = list(_docstrings(tree))
    found = [Violation(path, doc.line, f"{doc.kind} {doc.name}: {why}") for doc in docstrings for why in _check(doc)]
    found += [Violation(path, line, why) for line, text in texts(source) for why in _check_wording(text)]
    return sorted(set(found))


def check_files(paths: Iterable[Path]) -> list[Violation]:
    """Check files, and all Python files below folders."""
    files = (file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py"))))
    return [violation for file in files for violation in violations(file.as_posix(), file.read_text())]


def _check(doc: _Docstring) -> Iterator[str]:
    """Check how a docstring opens, and how each of its sentences does."""
    first = _first_word(doc.text)
    for sentence in _SENTENCE.finditer(doc.text):
        if sentence.start() or doc.kind == "attribute":
            yield f"a sentence begins with {sentence[1]!r}"
    if doc.kind == "attribute" and first == "it":
        yield "begins with 'it'"
    if doc.kind in ("module", "function"):
        yield from _check_imperative(first, doc.text)
    elif first in {"class": NOUN_PHRASE_OPENINGS | {"whether"}, "property": NOUN_PHRASE_OPENINGS}.get(doc.kind, ()):
        yield f"begins with {first!r}; write a noun phrase that stands alone"


def _check_imperative(first: str, text: str) -> Iterator[str]:
    if first in OPENINGS:
        yield f"begins with {first!r}; begin with a verb in the imperative"
    elif first in VERBS:
        if re.match(r"\S+ of\b", text):
            yield f"{first!r} is a noun before 'of'; begin with a verb in the imperative"
    elif re.search(r"(s|ing|ed)$", first):
        yield f"begins with {first!r}, a noun, a third person or a participle; begin with a verb in the imperative"
    else:
        yield f"begins with {first!r}, no verb known to tests/docstring_rules.py; begin with a verb, or add it to VERBS"


def _check_wording(text: str) -> Iterator[str]:
    for pattern, advice in WORDING:
        for match in pattern.finditer(text):
            yield advice.format(match[0])


def _first_word(text: str) -> str:
    found = _FIRST.match(text)
    return found[0].lower() if found else text.split(maxsplit=1)[0] if text.split() else ""


def _docstrings(tree: ast.Module) -> Iterator[_Docstring]:
    """Yield the docstrings of a module, its classes, functions, properties and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                line = node.body[0].lineno
                yield _Docstring(_kind(node), getattr(node, "name", "docstring"), line, text)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield from _attribute_docstrings(node)


def _attribute_docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> Iterator[_Docstring]:
    for before, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                target = before.targets[0] if isinstance(before, ast.Assign) else before.target
                yield _Docstring("attribute", ast.unparse(target), after.lineno, value.value)


def _kind(node: ast.AST) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = {ast.unparse(decorator).rsplit(".", 1)[-1] for decorator in node.decorator_list}
        return "property" if names & {"property", "cached_property"} else "function"
    return "class" if isinstance(node, ast.ClassDef) else "module"


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every string and every comment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def main(arguments: list[str]) -> int:
    """Print the violations by folder, and return 1 if there are any."""
    found = check_files(Path(argument) for argument in arguments or FOLDERS)
    by_folder: dict[str, list[Violation]] = {}
    for violation in found:
        by_folder.setdefault(Path(violation.path).parent.as_posix(), []).append(violation)
    for folder, group in sorted(by_folder.items()):
        print(f"\n{folder}: {len(group)}", *group, sep="\n  ")
    print("\n" + "\n".join(f"{len(group):5} {folder}" for folder, group in sorted(by_folder.items())))
    print(f"{len(found):5} in all")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
