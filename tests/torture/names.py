"""Give models, texts, points and studies hostile names, and look at the pages and the terminal."""

from __future__ import annotations

import json
import random
import re
import shutil
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Outcome, Settings, run
from tests.torture.verdict import Verdict, judge

_MARK = "zqz"
"""A word that stands in hostile names alone, by which the tags and the attributes that they make are known."""
_NAMES = (
    f"<script>{_MARK}()</script>", f"<img src=x onerror={_MARK}()>", f"\"><b {_MARK}=1>", f"' {_MARK}='1",
    f"</title><{_MARK}>",
    f"</script><{_MARK}>", f"<!--{_MARK}", f"{_MARK}-->", f"]]><{_MARK}>", f"{{{{{_MARK}}}}}", f"{{% {_MARK} %}}",
    f"${{{_MARK}}}",
    f"`{_MARK}`", f"$({_MARK})", f"; {_MARK}", f"&lt;{_MARK}", f"&{_MARK};", f"\x1b[31m{_MARK}", f"\x1b]0;{_MARK}\x07",
    f"\x9b31m{_MARK}",
    f"\x1b]8;;http://{_MARK}\x1b\\", f"{_MARK}\x08\x08\x08", f"\r{_MARK}", f"{_MARK}\nlandscape: error: {_MARK}",
    f"a\tb{_MARK}",
    f"[red]{_MARK}[/red]", f"[/]{_MARK}", f"[link=http://x]{_MARK}", f":skull: {_MARK}", f"[bold {_MARK}",
    f"{_MARK}\\", f"\\n{_MARK}",
    f"\u202e{_MARK}", f"{_MARK}\u2066x", f"\u200f{_MARK}", f"\u200b{_MARK}", f"\ufeff{_MARK}", f"\u2028{_MARK}",
    f"\u0085{_MARK}",
    f"e\u0301{_MARK}", f"\U0001f480{_MARK}", f"{_MARK}\U000e0041", f"-{_MARK}", f"--{_MARK}", f"--help {_MARK}",
    f"-m{_MARK}",
    f"{_MARK} with spaces ", f" {_MARK}", f"%s%n{_MARK}", f"{{0}}{_MARK}", f"__{_MARK}__", f"**{_MARK}**",
    f"# {_MARK}", f"| {_MARK} |",
    f"a,{_MARK}", f"=1+{_MARK}", f"@{_MARK}", f"~{_MARK}", f"{_MARK}:x", f"C:\\{_MARK}", f"CON.{_MARK}", f"nul{_MARK}",
    f"{_MARK}.",
    f"{_MARK}?", f"*{_MARK}*", f"[{_MARK}]", f"!{_MARK}", f"{_MARK}" + "x" * 252, f"{_MARK}" + "é" * 126,
    f"{_MARK}\udcff", f"\udce9{_MARK}\udc80",
    f"javascript:{_MARK}", f"data:{_MARK}", f"http:{_MARK}", f"hf:{_MARK}", f"{_MARK}.gguf", f"{_MARK}.json",
    f"w{_MARK}", f"\u0660{_MARK}",
    f"\u00ad{_MARK}", f"\u2029{_MARK}", f"\x7f{_MARK}", f"\x01{_MARK}", f"{_MARK}'\"<>&",
)  # fmt: skip
_BIDI = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")
_PROBE = (
    "--seq-len 12 --directions 2 --windows 2 --test-windows 1 --lambda-count 4 --alphas 2 --refinements 0 --bits 2 "
    "--methods rtn --output page"
)
_PLACES = ("model", "data", "point", "study", "output", "plot")


class _Tags(HTMLParser):
    """Find tags and attributes that a name made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        if _MARK in tag or any(_MARK in name for name, _ in attrs):
            self.found.append(self.get_starttag_text() or tag)
        values = dict(attrs)
        scheme = (values.get("href") or values.get("src") or "").strip().lower()
        if any(name.startswith("on") and _MARK in (value or "") for name, value in attrs) or (
            scheme.startswith(("javascript:", "data:")) and _MARK in scheme
        ):
            self.found.append(self.get_starttag_text() or tag)


def attempt(context: Context, number: int) -> Verdict:
    """Give one thing one name, and look at what is printed and written."""
    draw = context.draw("names", number)
    name, place = _NAMES[number % len(_NAMES)], _PLACES[(number // len(_NAMES) + number) % len(_PLACES)]
    with context.folder("names", number) as folder:
        words = _asked(context, folder, name, place, as_json=draw.random() < 0.3)
        if words is None:
            return Verdict("refused", f"{place} {name!r}: the file system refuses it")
        settings = Settings(folder, Path("cache"))
        outcome = run(words, settings)
        verdict = judge(outcome)
        if not verdict.is_fault and place == "plot" and verdict.kind == "well":
            outcome = run(["plot", _run_of(folder), "--output", "page"], settings)
            verdict = judge(outcome)
        if not verdict.is_fault and (fault := _printed_fault(outcome) or _page_fault(folder)):
            verdict = Verdict("unexpected", fault, outcome.seconds, outcome.peak)
        return verdict.of(f"{place} {name[:60]!r}")


def _asked(context: Context, folder: Path, name: str, place: str, as_json: bool) -> list[str] | None:
    """Return the words of a command about something of this name; None where no file can have it."""
    materials = context.materials
    model, data = str(materials.llama), str(materials.words)
    more: list[str] = ["--json"] if as_json else []
    try:
        if place in ("model", "plot"):
            shutil.copytree(materials.llama, folder / name)
            model = _path(name)
        elif place == "data":
            shutil.copytree(materials.words, folder / name)
            data = _path(name)
        elif place == "output":
            more += ["--csv", f"csv-{name}"[:80]]
        elif place == "point":
            shutil.copytree(materials.llama, folder / name)
            more += ["--point", f"{name[:60]}={_path(name)}"]
    except (OSError, ValueError):
        return None
    if place == "study":
        return ["study", f"--models={model}", f"--data={data}", *_PROBE.split(), f"--name={name}", *more]
    return ["probe", f"--model={model}", f"--data={data}", *_PROBE.split(), *more]


def _path(name: str) -> str:
    return name if random.Random(name.encode("utf-8", "surrogateescape")).random() < 0.5 else f"./{name}"


def _run_of(folder: Path) -> str:
    return str(next((folder / "cache").glob("*/runs/*.json")))


def _printed_fault(outcome: Outcome) -> str:
    """Find what a terminal would obey in what was printed; empty if there is nothing."""
    for number, character in enumerate(outcome.text):
        if character in _BIDI or (
            unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp") and character != "\n"
        ):
            around = outcome.text[max(number - 40, 0) : number + 40]
            if not (character == "\t" and "\\t" not in around):
                return f"U+{ord(character):04X} on the terminal: {around!r}"
    if re.search(rf"^landscape: error: {_MARK}", outcome.text, re.MULTILINE):
        return "a line break of a name on the terminal"
    return ""


def _page_fault(folder: Path) -> str:
    """Find tags, attributes and characters of a name in pages; empty if there are none."""
    for page in folder.rglob("*.html"):
        if folder / "cache" in page.parents:
            continue
        text = page.read_bytes().decode("utf-8", "replace")
        tags = _Tags()
        tags.feed(text)
        if tags.found:
            return f"a name makes a tag: {tags.found[0][:200]}"
        for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL):
            json.loads(block)
        if f"{_MARK}()</script>" in text or f"</script><{_MARK}>" in text:
            return "a name ends a script"
        for found in re.finditer(rf".{{0,9}}{_MARK}.{{0,9}}", text, re.DOTALL):  # near a name: libraries have their own
            hidden = [c for c in found[0] if c in _BIDI or (unicodedata.category(c) == "Cc" and c not in "\n\t\r")]
            if hidden:
                return f"U+{ord(hidden[0]):04X} on a page: {found[0]!r}"
    return ""


ROUND = Round("names", 175, attempt, "hostile names of models, texts, points, studies and folders", (), 3.0)
