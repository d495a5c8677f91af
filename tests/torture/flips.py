"""Damage a file that a finished cache holds, and ask the same again: the same numbers, or a sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.torture.contexts import Context, Round
from tests.torture.forks import Settings, run
from tests.torture.scenarios import Reference
from tests.torture.verdict import Verdict, judge

_SCENARIOS = (
    "rtn",
    "qaft",
    "gguf",
    "self",
    "point",
    "study",
    "anatomy",
    "quantize",
    "radius",
    "plot",
    "report",
    "export",
)
_VERIFIED = 0.25
"""Share of the tries that look at the cache with ``cache verify`` first."""

Damage = Callable[[bytes, random.Random], bytes]


def _bit(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def _byte(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([(content[place] + draw.randrange(1, 256)) % 256]) + content[place + 1 :]


def _head_byte(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(min(len(content), 64))
    return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _zeros(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    length = min(draw.randrange(1, 4097), len(content) - place)
    return content[:place] + bytes(length) + content[place + length :]


def _empty(content: bytes, draw: random.Random) -> bytes:
    return b""


def _more(content: bytes, draw: random.Random) -> bytes:
    return content + draw.randbytes(draw.randrange(1, 64))


def _other(content: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(min(len(content), 4096))


DAMAGES: tuple[Damage, ...] = (_bit, _bit, _bit, _byte, _byte, _head_byte, _cut, _cut, _zeros, _empty, _more, _other)


def attempt(context: Context, number: int) -> Verdict:
    """Damage one file of one finished cache, drawn at random, and run the command that made it."""
    draw = context.draw("flips", number)
    reference = context.references[draw.choice(_SCENARIOS)]
    damage = draw.choice(DAMAGES)
    with context.folder("flips", number) as folder:
        reference.begin(folder, finished=True)
        path = _drawn(folder, draw)
        held = path.read_bytes()
        path.write_bytes(damage(held, draw))
        asked = f"{reference.scenario.name} with {damage.__name__[1:]} in {path.relative_to(folder)}"
        if path.read_bytes() == held:
            return Verdict("well", asked)
        if draw.random() < _VERIFIED and (verdict := _verified(folder, path)).is_fault:
            return verdict.of(f"cache verify after {asked}")
        return _asked_again(reference, folder, path).of(asked)


def _asked_again(reference: Reference, folder: Path, path: Path) -> Verdict:
    verdict = reference.check(reference.run(folder), folder)
    own = "point" in path.relative_to(folder).parts[:1]  # another weight in a user's folder is another point
    return replace(verdict, kind="well") if own and verdict.kind == "wrong" else verdict


def _drawn(folder: Path, draw: random.Random) -> Path:
    """Draw a file, each kind as likely as the others: a cache has many shards and one settings file."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size:
            parts = path.relative_to(folder).parts
            place = parts[2] if len(parts) > 3 else parts[-1]  # probes, points, runs …; settings.json
            kinds.setdefault((parts[1] if parts[1] in ("models", "tokens", "self") else place, path.suffix), []).append(
                path
            )
    return draw.choice(kinds[draw.choice(sorted(kinds))])


def _verified(folder: Path, path: Path) -> Verdict:
    """Judge ``cache verify``, which must find every change of a shard, and end."""
    outcome = run(["cache", "verify", "--json"], Settings(folder, Path("cache")))
    verdict = judge(outcome)
    if verdict.kind == "unexpected" and outcome.code == 1 and '"damaged"' in outcome.out:
        verdict = replace(verdict, kind="refused", words="")
    if verdict.kind == "well" and path.suffix == ".h5" and folder / "cache" in path.parents:
        return replace(verdict, kind="wrong", words="it finds no damage")
    return verdict


ROUND = Round("flips", 1200, attempt, "bits, bytes, zeros, cuts in every kind of file that is read back", _SCENARIOS)
