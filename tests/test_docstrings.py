"""Hold the English of the source to the rules of ``tests.docstring_rules``, and show that each rule can fail."""

from pathlib import Path

import pytest

from tests.docstring_rules import FOLDERS, VERBS, check_files, main, violations

ROOT = Path(__file__).parent.parent

BAD_FUNCTIONS = {
    "The losses at w.": "begins with 'the'",
    "Whether a folder can be written.": "begins with 'whether'",
    "What every job begins with.": "begins with 'what'",
    "How many windows there are.": "begins with 'how'",
    "Of two results the first.": "begins with 'of'",
    "It; the radius.": "begins with 'it'",
    "Returns the radius.": "a noun, a third person or a participle",
    "Running a plan.": "a noun, a third person or a participle",
    "Stored losses of a run.": "a noun, a third person or a participle",
    "Radius of a basin.": "a noun, a third person or a participle",
    "Distance from w.": "no verb known",
    "‖w‖ of the tensors.": "no verb known",
    "Scale of one row.": "is a noun before 'of'",
    "Return R. Of two radii the first.": "a sentence begins with 'Of'",
    "Return R.\n\n    That is tried before.": "a sentence begins with 'That'",
    "Return R.\n\n    Args:\n        windows: Of the split.": "a sentence begins with 'Of'",
}
GOOD_FUNCTIONS = (
    "Return the radius, which a search found.",
    "Say whether a folder is writable.",
    "Fine-tune the rounding.",
    "Pass the losses on.",
    "Feed windows to the model.\n\n    Args:\n        windows: The windows of the split.",
    "Scale one row. It stays in place.",
)
BAD_WORDS = (
    "told",
    "Tells the user",
    "tell",
    "cannot be had",
    "can't be had",
    "is to be had",
    "puts out",
    "for who runs",
)


def found(source):
    return [violation.what for violation in violations("x.py", source)]


def function(docstring):
    return f'def f():\n    """{docstring}"""\n'


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_source_keeps_the_rules(folder):
    broken = check_files([ROOT / folder])
    assert not broken, "\n".join(["run python -m tests.docstring_rules", *map(str, broken)])


@pytest.mark.parametrize("docstring", BAD_FUNCTIONS)
def test_a_function_begins_with_a_known_verb(docstring):
    (what,) = found(function(docstring))
    assert what.startswith("function f: ")
    assert BAD_FUNCTIONS[docstring] in what


@pytest.mark.parametrize("docstring", GOOD_FUNCTIONS)
def test_an_imperative_sentence_is_fine(docstring):
    assert found(function(docstring)) == []
    assert found(f'"""{docstring}"""') == []


def test_a_method_and_a_closure_are_functions_and_a_module_needs_a_verb_too():
    method = 'class A:\n    async def f(self):\n        def g():\n            """The inner one."""\n'
    assert found(method) == ["function g: begins with 'the'; begin with a verb in the imperative"]
    assert found('"""Losses of a run."""') == [
        "module docstring: begins with 'losses', a noun, a third person or a participle; begin with a verb in the "
        "imperative"
    ]


@pytest.mark.parametrize(
    ("docstring", "fine_for"),
    [
        ("The losses of a run.", {"class", "property"}),
        ("Whether the run is over.", {"property"}),
        ("What a run found.", set()),
        ("How many windows there are.", set()),
        ("Of the split.", set()),
        ("Its windows.", set()),
    ],
)
def test_a_class_or_a_property_is_named_by_a_noun_phrase(docstring, fine_for):
    sources = {
        "class": f'class A:\n    """{docstring}"""\n',
        "property": f'class A:\n    @property\n    def f(self):\n        """{docstring}"""\n',
    }
    for kind, source in sources.items():
        assert bool(found(source)) == (kind not in fine_for), kind
    cached = sources["property"].replace("@property", "@functools.cached_property")
    assert found(cached) == found(sources["property"])


@pytest.mark.parametrize("docstring", ["Of the split.", "What it is.", "That of w.", "It is w."])
def test_a_field_is_described_by_a_noun_phrase(docstring):
    of_class = f'    x: int = 1\n    """{docstring}"""\n'
    of_self = of_class.replace("x:", "self.x:")
    for source in (f"class A:\n{of_class}", f"def __init__(self):\n{of_self}", f'X = 1\n"""{docstring}"""'):
        assert len(found(source)) == 1, source
    assert found('X = 1\n"""Windows of the split. It is short."""') == []


@pytest.mark.parametrize("words", BAD_WORDS)
@pytest.mark.parametrize("source", ['raise E("a {} b")', 'raise E(f"{{x}} {} b")', "x = 1  # {}", function("Give {}.")])
def test_no_text_holds_a_word_to_avoid(words, source):
    assert len(found(source.format(words))) == 1


def test_a_name_is_no_text_and_a_word_is_a_whole_one():
    assert found("told = tell(1)  # retold by a stellar teller: put it out") == []


def test_every_verb_may_open_a_docstring_and_reads_as_an_imperative():
    for verb in VERBS:
        assert found(function(f"{verb.capitalize()} a window.")) == []
    assert {verb for verb in VERBS if verb.endswith(("ing", "ed")) or (verb[-1] == "s" and verb[-2] != "s")} <= {
        "bias", "bring", "embed", "exceed", "feed", "focus", "need", "seed", "speed", "string"
    }  # fmt: skip


def test_violations_are_printed_by_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text('"""Rooms."""\n')
    (tmp_path / "room/b.py").write_text('"""Open a room."""\n')
    assert main(["room/b.py"]) == 0
    assert main(["room"]) == 1
    printed = capsys.readouterr().out
    assert "\nroom: 1\n  room/a.py:1: module docstring: begins with 'rooms'" in printed
    assert "    1 room\n    1 in all\n" in printed
