"""A tiny tokenizer: one token a word, its vocabulary that of ``tests.tiny``."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tests import tiny


def tokenizer(size: int = tiny.VOCABULARY, bos: bool = True) -> PreTrainedTokenizerFast:
    """Word ``w7`` is token 7; token 0 begins a text (``<s>``), token 1 ends it (``</s>``), token 2 is unknown."""
    words = ["<s>", "</s>", "<unk>", *(f"w{i}" for i in range(3, size))]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    if bos:  # as Llama's does: special tokens come unless they are declined
        backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    begin = {"bos_token": "<s>"} if bos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", model_max_length=16, **begin
    )


def words(ids: list[int]) -> str:
    """A text of these tokens, all from 3 up."""
    return " ".join(f"w{i}" for i in ids)
