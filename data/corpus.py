"""The corpus `tales`: three text files of stories, split story by story.

One format for all three: every story is the end-of-text token `</s>`, its paragraphs one per line, and a newline. So a
story begins on a line that starts with `</s>`, and a file is one string that can be tokenized as it stands.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

END = "</s>"  # OPT's beginning and end of a text are one token
SPLITS = ("train", "validation", "test")
SHARE = {"validation": 0.06, "test": 0.06}  # about 28,000 tokens each: 54 windows of 512


def read_raw(folder: Path) -> list[str]:
    """Return the raw stories of `tales-*.jsonl.xz` in `folder`, files in the order of their names."""
    files = sorted(folder.glob("tales-*.jsonl.xz"))
    if not files:
        raise FileNotFoundError(
            f"expected tales-*.jsonl.xz in {folder}, found none: pass the right folder with --tales"
        )
    return [json.loads(line)["text"] for file in files for line in lzma.decompress(file.read_bytes()).splitlines()]


def split_of(story: str) -> str:
    """Return the split of a story: a hash of its text decides, so that no other story can move it."""
    place = int.from_bytes(hashlib.sha256(story.encode()).digest()[:8]) / 2**64
    if place < SHARE["test"]:
        return "test"
    return "validation" if place < SHARE["test"] + SHARE["validation"] else "train"


def join(stories: list[str]) -> str:
    """Return the stories as one text in the corpus format."""
    return "".join(f"{END}{story}\n" for story in stories)


def parse(text: str) -> list[str]:
    """Return the stories of a text in the corpus format: the inverse of `join`."""
    return [story.removesuffix("\n") for story in text.split(END)[1:]]


def write(stories: list[str], folder: Path) -> dict[str, list[str]]:
    """Split the stories, write one xz file per split into `folder`, and return the splits."""
    folder.mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for story in stories:
        splits[split_of(story)].append(story)
    for name, members in splits.items():
        packed = lzma.compress(join(members).encode(), preset=9 | lzma.PRESET_EXTREME)
        (folder / f"{name}.txt.xz").write_bytes(packed)
    return splits
