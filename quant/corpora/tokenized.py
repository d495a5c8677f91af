"""Tokenize texts once, and keep their tokens in the cache.

    <cache>/tokens/<sha256>.safetensors    ids (N,) int32, and articles (n,) int64: the tokens at which they begin

The name is the hash of all that determines the content: every character of the text, the characters at which its
articles begin, and the tokenizer's whole record with the versions of its libraries. Where a tokenizer has no such
record, nothing is kept. A file is headed by its hash; a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from quant.checkpoints.tokenizer_record import tokenizer_record
from quant.corpora.text_files import Text
from quant.errors import StoreError
from quant.files.hashed_files import fault_of_unread, read_hashed, write_hashed

TOKENS_VERSION = 3
"""Version of ``encode`` and of the files; raise it when the code makes other tokens or starts of a text. Files of
earlier versions have other names and are left alone."""
SHORT = 50_000
"""Characters; a shorter text takes less time than the record of its tokenizer."""

Tokens = tuple[Tensor, Tensor | None]
"""Token ids (N,) int64, and the tokens (n,) int64 at which articles begin; None where that is not known."""


def tokenize(
    texts: Mapping[str, Text], tokenizer: PreTrainedTokenizerBase, cache: Path, warn: Callable[[str], None]
) -> dict[str, Tokens]:
    """Return the tokens of each text, from the cache where it has them.

    Args:
        texts: The texts by split.
        tokenizer: The tokenizer.
        cache: Folder whose ``tokens`` keeps the tokens of long texts.
        warn: Function for one line about a damaged file, or a cache that cannot be written.
    """
    long = any(len(text.content) >= SHORT for text in texts.values())
    # Once, and before the first text: a call can reset settings of a tokenizer (truncation) that its record has.
    record = tokenizer_record(tokenizer) if long else None
    folder = cache / "tokens"
    return {
        split: encode(text, tokenizer)
        if record is None or len(text.content) < SHORT
        else _kept(text, tokenizer, folder, _name(text, record), warn)
        for split, text in texts.items()
    }


def encode(text: Text, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Tokenize a text, without the warning that it is longer than the model's context, as it should be."""
    encoding = tokenizer(text.content, add_special_tokens=False, verbose=False)
    ids = torch.tensor(encoding["input_ids"], dtype=torch.int64)
    if text.starts is None or not tokenizer.is_fast:
        return ids, None
    return ids, torch.tensor(_token_starts(encoding, text.starts, len(ids)), dtype=torch.int64)


def _name(text: Text, record: str) -> str:
    """Return the sha256 over all that determines the tokens of a text."""
    digest = hashlib.sha256(json.dumps([TOKENS_VERSION, text.starts]).encode())
    for part in (record, text.content):
        digest.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()


def _kept(
    text: Text, tokenizer: PreTrainedTokenizerBase, folder: Path, name: str, warn: Callable[[str], None]
) -> Tokens:
    """Read the tokens of a text; tokenize it and keep them if there is no file, or it is damaged."""
    path, recipe = folder / f"{name}.safetensors", {"recipe": name}
    read = read_hashed(path, recipe)
    if read is not None:
        return read[0]["ids"].long(), read[0].get("articles")
    if fault := fault_of_unread(path):
        warn(f"{path} {fault}: its text is tokenized again")
    ids, starts = encode(text, tokenizer)
    kept = {"ids": ids.to(torch.int32)} | ({} if starts is None else {"articles": starts})
    try:
        write_hashed(path, kept, recipe)
    except StoreError as error:
        warn(f"a text is tokenized anew at every run, since its tokens cannot be kept: {error}")
    return ids, starts


def _token_starts(encoding: BatchEncoding, starts: tuple[int, ...], count: int) -> list[int]:
    """Return for each article the first token that ends after its start: a token across the border opens the article.

    Bisection finds it: tokens are in the order of the text, and a list of all their characters would take 100 bytes a
    token.
    """
    return [bisect_right(range(count), start, key=lambda i: encoding.token_to_chars(i).end) for start in starts]
