"""Strategies that change valid bytes, texts and JSON: in their structure first, then bit by bit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Edit = Callable[[bytes], bytes]

ODD_INTEGERS = (
    0, 1, 2, 3, 7, 31, 32, 33, 255, 256, 1000, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40,
    2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
ODD_VALUES = (
    None, True, False, -1, 0, 1, 2, 3, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e308, float("nan"),
    float("inf"), "", " ", "0", "auto", "x" * 300, "\0", "\ud800", "../../etc", "a\nb", "{}", [], {}, [[]], [{}],
    {"": None}, {"a": {"b": []}}, [0, -1], ["a", 1], [None],
)  # fmt: skip
RAW = (
    "1" * 5000, "-" + "9" * 4301, "1e999", "[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "NaN", "-0",
    '"\\ud800"', "0x10", "", "{", '"', "1" * 400,
)  # fmt: skip
"""JSON that Python's own writer never writes: numbers of any length, and any depth."""
TEXTS = (
    "", " ", ".", "..", "/", "~", "~nobody", "a" * 300, "a/" * 3000, "\0", "a\0b", "a\nb", "\x1b[31m", "\ud800",
    "\u202e", "é", "-", "--", "-1", "=", "a=", "=b", ",", "0", "00", "4", "4.0", "1e3", "1e999", "nan", "inf",
    "-inf",
    "1" * 5000, "٣", "²", "0x10", "1_0", "None", "true", "[]", "{}", "*", "[", "%", "a b", "http://x/y", "hf:",
    "hf:a/b", ",,", "hf:a/b:c", "a/b", "a/b/c", "/dev/null", "/dev/zero", "/proc/self/mem", "C:\\x",
)  # fmt: skip


def changed_bytes(content: bytes, head: int = 600) -> st.SearchStrategy[bytes]:
    """Content after one to four changes: most of them in its head, where its counts and names are."""
    edit = st.one_of(_flipped(head), _overwritten(head), _cut(head), _inserted(head), _repeated(head), _removed(head))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: _applied(content, edits))


def _applied(content: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        content = edit(content)
    return content


def _places(head: int) -> st.SearchStrategy[float]:
    """A place: a whole number counts bytes from the start, a fraction is a share of the whole."""
    return st.one_of(st.integers(0, head), st.floats(0.001, 0.999))


def _place(place: float, content: bytes) -> int:
    return min(int(place if isinstance(place, int) else place * len(content)), max(0, len(content) - 1))


def _flipped(head: int) -> st.SearchStrategy[Edit]:
    def edit(place: float, bit: int) -> Edit:
        def flip(content: bytes) -> bytes:
            at = _place(place, content)
            return content[:at] + bytes(b ^ 1 << bit for b in content[at : at + 1]) + content[at + 1 :]

        return flip

    return st.builds(edit, _places(head), st.integers(0, 7))


def _overwritten(head: int) -> st.SearchStrategy[Edit]:
    def edit(place: float, value: bytes) -> Edit:
        return lambda content: content[: (at := _place(place, content))] + value + content[at + len(value) :]

    odd = st.builds(
        lambda n, size: (n % 2 ** (8 * size)).to_bytes(size, "little"), integers(), st.sampled_from((1, 2, 4, 8))
    )
    return st.builds(edit, _places(head), st.one_of(odd, st.binary(min_size=1, max_size=8)))


def _cut(head: int) -> st.SearchStrategy[Edit]:
    return _places(head).map(lambda place: lambda content: content[: _place(place, content)])


def _inserted(head: int) -> st.SearchStrategy[Edit]:
    def edit(place: float, value: bytes) -> Edit:
        return lambda content: content[: (at := _place(place, content))] + value + content[at:]

    return st.builds(edit, _places(head), st.one_of(st.binary(min_size=1, max_size=16), st.just(bytes(64))))


def _repeated(head: int) -> st.SearchStrategy[Edit]:
    def edit(place: float, size: int) -> Edit:
        return lambda content: content[: (at := _place(place, content)) + size] + content[at:]

    return st.builds(edit, _places(head), st.integers(1, 200))


def _removed(head: int) -> st.SearchStrategy[Edit]:
    def edit(place: float, size: int) -> Edit:
        return lambda content: content[: (at := _place(place, content))] + content[at + size :]

    return st.builds(edit, _places(head), st.integers(1, 64))


def integers() -> st.SearchStrategy[int]:
    """Whole numbers of 64 bits, most of them at an edge."""
    return st.one_of(st.sampled_from(ODD_INTEGERS), st.integers(0, 300), st.integers(0, 2**64 - 1))


def texts() -> st.SearchStrategy[str]:
    """Words of a command line, names and paths: odd ones, and any at all."""
    return st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))


def changed_text(text: str) -> st.SearchStrategy[str]:
    """A word after a change: a character cut, doubled or replaced, something odd at an end, or another word."""

    def spliced(place: int, size: int, inner: str) -> str:
        at = min(place, len(text))
        return text[:at] + inner + text[at + size :]

    inner = st.one_of(st.sampled_from(("", "-", ".", ",", "=", ":", "/", "+", "%", " ", "0", "9" * 20)), texts())
    return st.one_of(st.builds(spliced, st.integers(0, len(text)), st.integers(0, 3), inner), texts())


@st.composite
def changed_json(draw: st.DrawFn, value: Any, most: int = 3) -> bytes:
    """Bytes of a JSON value after some changes of its entries, at times with JSON that Python does not write."""
    value = changed_value(draw, value, most)
    text = json.dumps(value)
    if draw(st.integers(0, 4)) == 0:
        holder: dict[str, Any] = {"value": copy.deepcopy(value)}
        parent, key = draw(st.sampled_from(list(_nodes(holder))))
        parent[key] = "@raw@"
        text = json.dumps(holder["value"]).replace('"@raw@"', draw(st.sampled_from(RAW)))
    content = text.encode()
    return draw(changed_bytes(content)) if draw(st.integers(0, 9)) == 0 else content


def changed_value(draw: st.DrawFn, value: Any, most: int = 3) -> Any:
    """A JSON-like value after some changes of its entries."""
    holder = {"value": copy.deepcopy(value)}
    for _ in range(draw(st.integers(1, most))):
        nodes = list(_nodes(holder))
        parent, key = draw(st.sampled_from(nodes[1:] or nodes))  # the whole is changed only where it has no entries
        _change(draw, parent, key)
        holder.setdefault("value", {})
    return holder["value"]


def _change(draw: st.DrawFn, parent: Any, key: Any) -> None:
    match draw(st.sampled_from(("odd", "odd", "odd", "near", "near", "type", "drop", "rename", "swap", "wrap"))):
        case "odd":
            parent[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
        case "near":
            parent[key] = _near(draw, parent[key])
        case "type":
            parent[key] = draw(st.sampled_from((str(parent[key])[:300], [parent[key]], {"a": parent[key]}, None)))
        case "drop":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            name = draw(st.one_of(texts(), st.sampled_from(sorted(map(str, parent)))))
            parent[name] = parent.pop(key)
        case "swap" if isinstance(parent, dict):
            other = draw(st.sampled_from(list(parent)))
            parent[key], parent[other] = parent[other], parent[key]
        case _:
            parent[key] = draw(st.sampled_from(([], [parent[key]] * 3, {"x": [parent[key]]})))


def _near(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw(st.sampled_from((-value, value + 1, value - 1, 2 * value, float(value), value * 10**6, str(value))))
    if isinstance(value, float):
        return draw(
            st.sampled_from(
                (
                    -value,
                    value * 1e30,
                    1 / value if value else 0.0,
                    int(value) if value == value and abs(value) < 1e18 else 0,
                )
            )
        )
    if isinstance(value, str):
        return draw(changed_text(value))
    if isinstance(value, list):
        return draw(st.sampled_from((value[:-1], value + value, value[::-1], [*value, None])))
    return draw(st.sampled_from((None, [], 0)))


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """All entries of a JSON value, each as its parent and its key."""
    entries = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, inner in entries:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _nodes(inner)
