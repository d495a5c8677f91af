"""Turn raw sampled stories into clean ones: whole sentences, no loops, nothing unfit for children.

A small language model wrote the raw stories. Most stop in the middle of a sentence, some circle round one phrase, and
a few carry words that no children's corpus should. `clean_stories` mends what can be mended (cut back to a whole
sentence, cut before a loop) and drops the rest, counting each drop under the first test that failed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIN_WORDS = 50  # shorter ones are mostly what a loop cut left of a bad story
MIN_DISTINCT_TRIGRAMS = 0.78  # read by eye: below it a story says one thing over and over
MAX_ZLIB_RATIO = 2.5  # bytes / zlib bytes; ordinary prose of this length lies at 1.7 to 2.2
MAX_OVERLAP = 0.2  # Jaccard overlap of two stories' word 5-grams: independent ones stay below 0.1
STALE_SENTENCE = 0.8  # a sentence with this share of its trigrams already told begins a loop

UNFIT = frozenset(
    word
    for line in Path(__file__).with_name("unfit-words.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
    for word in line.split()
)
PUNCTUATION = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " "})
ALLOWED = re.compile(r"[A-Za-z0-9 \n.,!?'\":;-]*")
# A full stop after Mr, Mrs, Ms, Dr or St ends no sentence.
SENTENCE_END = re.compile(r'(?<!\bMrs)(?<!\b[MD]r)(?<!\bMs)(?<!\bSt)[.!?]+"?(?=\s|$)')
# "so so so", or a longer word twice running ("special special"); "very very" and "really really" are how children talk.
STUTTER = re.compile(r"\b(\w+)(?:\W+\1\b){2,}|\b(?!really)(\w{5,}) \2\b", re.IGNORECASE)
META = re.compile(
    r"\b(?:sentences|vocabulary|title|paragraphs?|simple words|readers?|copyright|as an ai|short story|story for|"
    r"(?:this|in the) story|the story (?:is|begins|ends|teaches|tells|shows)|here(?: is|'s) (?:a|the|your) story)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cleaning:
    """The kept stories and what became of the others.

    Attributes:
        stories: Clean stories, in the order in which they were sampled.
        dropped: Reason -> number of raw stories dropped for it (each story counts once).
        mended: Repair -> number of kept stories which it changed.
    """

    stories: list[str]
    dropped: Counter[str]
    mended: Counter[str]


def normalise(text: str) -> str:
    """Return `text` in plain ASCII with one space between words and one newline between paragraphs."""
    text = unicodedata.normalize("NFKD", text.translate(PUNCTUATION))
    text = "".join(char for char in text if not unicodedata.combining(char))
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def strip_title(text: str) -> str:
    """Return `text` without leading lines that end like a title, that is without sentence punctuation."""
    lines = text.split("\n")
    while len(lines) > 1 and not re.search(r'[.!?,:]"?$', lines[0]):
        del lines[0]
    return "\n".join(lines)


def cut_to_sentence(text: str) -> str:
    """Return `text` up to its last whole sentence that leaves no quotation open in its paragraph."""
    paragraphs = text.split("\n")
    while paragraphs:
        ends = [match.end() for match in SENTENCE_END.finditer(paragraphs[-1])]
        whole = [end for end in ends if paragraphs[-1][:end].count('"') % 2 == 0]
        if whole:
            return "\n".join([*paragraphs[:-1], paragraphs[-1][: whole[-1]]]).strip()
        paragraphs.pop()
    return ""


def trigrams(text: str) -> list[tuple[str, ...]]:
    """Return the word trigrams of `text`, in order, lower case."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return list(zip(words, words[1:], words[2:], strict=False))


def cut_before_loop(text: str) -> str:
    """Return `text` up to the first sentence that stutters or that mostly repeats trigrams told before."""
    told: set[tuple[str, ...]] = set()
    start = 0
    for match in SENTENCE_END.finditer(text):
        sentence = text[start : match.end()]
        grams = trigrams(sentence)
        stale = len(grams) >= 3 and sum(gram in told for gram in grams) >= STALE_SENTENCE * len(grams)
        if stale or STUTTER.search(sentence):
            return text[:start].strip()
        told.update(grams)
        start = match.end()
    return text


def unfit_words(text: str) -> list[str]:
    """Return the words of `text` that are on the list of words unfit for children."""
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in UNFIT]


def mend(text: str) -> tuple[str, list[str]]:
    """Return the mended story and the names of the repairs that changed it."""
    repairs = []
    text = normalise(text)
    for name, repair in (("title", strip_title), ("loop", cut_before_loop), ("last sentence", cut_to_sentence)):
        mended = repair(text)
        if mended != text:
            repairs.append(name)
        text = mended
    return text, repairs


def fault(raw: str, text: str) -> str | None:
    """Return why a story must go, or None if it may stay.

    Args:
        raw: The story as sampled: whoever begins to be unfit is not trusted to have been cut in time.
        text: The story after `mend`.
    """
    if unfit_words(normalise(raw)):
        return "unfit for children"
    if META.search(text) or re.match(r"\d|-", text):
        return "talks about itself"
    if not ALLOWED.fullmatch(text):
        return "odd characters"
    if len(text.split()) < MIN_WORDS:
        return "too short"
    grams = trigrams(text)
    squeeze = len(text) / len(zlib.compress(text.encode(), 9))
    if len(set(grams)) < MIN_DISTINCT_TRIGRAMS * len(grams) or squeeze > MAX_ZLIB_RATIO:
        return "repetitive"
    return None


def shingles(text: str, n: int = 5) -> set[int]:
    """Return the hashes of the word n-grams of `text`."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    grams = (" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1)))
    return {int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest()) for gram in grams}


def near_duplicates(stories: list[str]) -> set[int]:
    """Return the indices of stories that share too many 5-grams with an earlier kept one."""
    kept: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    duplicates = set()
    for index, story in enumerate(stories):
        own = shingles(story)
        common = Counter(other for gram in own for other in kept.get(gram, ()))
        if any(n > MAX_OVERLAP * (len(own) + sizes[other] - n) for other, n in common.items()):
            duplicates.add(index)
            continue
        sizes[index] = len(own)
        for gram in own:
            kept.setdefault(gram, []).append(index)
    return duplicates


def clean_stories(raw: Iterable[str]) -> Cleaning:
    """Mend or drop every raw story."""
    kept: list[tuple[str, list[str]]] = []
    dropped: Counter[str] = Counter()
    for story in raw:
        text, repairs = mend(story)
        reason = fault(story, text)
        if reason:
            dropped[reason] += 1
        else:
            kept.append((text, repairs))
    duplicates = near_duplicates([text for text, _ in kept])
    dropped["near duplicate"] += len(duplicates)
    survivors = [pair for index, pair in enumerate(kept) if index not in duplicates]
    return Cleaning([text for text, _ in survivors], dropped, Counter(name for _, names in survivors for name in names))
