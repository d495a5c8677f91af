"""The tokenizer of opt-nano: byte-level BPE, trained on the train split alone."""

from __future__ import annotations

from pathlib import Path

from corpus import END
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<pad>"  # torch.nn.Embedding never trains the padding row, so it must not be the row of </s>
VOCABULARY = 1024


def train_tokenizer(stories: list[str], positions: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose text round trip is exact and which adds no special token by itself.

    Args:
        stories: The stories of the train split.
        positions: The longest window of the model, in tokens.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((f"{story}\n" for story in stories), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
