"""Convert a GGUF file once: what is kept is what was read, or it is read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from quant.checkpoints import converted
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.checkpoints.pretrained import read_gguf
from quant.errors import CheckpointError
from quant.identity import fingerprint
from tests import tiny
from tests.quant.checkpoints.test_gguf_file import LLAMA3, converter_factors, model, write
from tests.tiny_tokenizer import tokenizer

TEXT = "".join(chr(ord("!") + i) for i in range(40)) + " !#!# <s></s>\n\n  !!##!# é"


class Reads:
    """Count of the times that files are parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0

        def counting(file: Path, dtype: str, device_map: Any = None) -> Any:
            self.count += 1
            return read_gguf(file, dtype, device_map)

        monkeypatch.setattr(converted, "read_gguf", counting)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def refuse(line: str) -> None:
    raise AssertionError(line)


def load(file: Path, cache: Path, warn: Callable[[str], None] = refuse, **options: Any) -> Checkpoint:
    return load_checkpoint(str(file), cache=cache, warn=warn, **options)


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("models/*"))


def sentencepiece(path: Path) -> Path:
    """A file of the same model with a vocabulary of SentencePiece's kind, as Llama 2 has it."""
    class_ = gguf.GGUFWriter
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(20)), "\u2581", *(chr(97 + i) for i in range(26))]
    tokens += ["\u2581a", "ab", "\u2581ab", "cd", "abcd"]
    tokens += [f"x{i}" for i in range(tiny.VOCABULARY - len(tokens))]
    types = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 20]
    types += [gguf.TokenType.NORMAL] * (len(tokens) - len(types) - 1) + [gguf.TokenType.USER_DEFINED]

    class Writer(class_):
        def add_tokenizer_model(self, kind: str) -> None:
            super().add_tokenizer_model("llama")

        def add_token_list(self, _: Any) -> None:
            super().add_token_list(tokens)

        def add_token_types(self, _: Any) -> None:
            super().add_token_types(types)

        def add_token_merges(self, _: Any) -> None:
            self.add_token_scores([-float(i) for i in range(len(tokens))])
            self.add_bos_token_id(1)
            self.add_eos_token_id(2)
            self.add_unk_token_id(0)

    gguf.GGUFWriter = Writer
    try:
        return write(path)
    finally:
        gguf.GGUFWriter = class_


def scaled(path: Path) -> Path:
    factors = converter_factors(500000.0, 8.0, 8192)
    return write(path, tensors={"rope_freqs.weight": factors}, theta=500000.0)


@pytest.mark.parametrize("make", [write, scaled, sentencepiece])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_what_is_kept_is_what_is_read_directly(
    tmp_path: Path, reads: Reads, make: Callable[[Path], Path], dtype: str
) -> None:
    file, cache = make(tmp_path / "m.gguf"), tmp_path / "cache"
    direct, its_tokenizer = read_gguf(file, dtype)
    windows = tiny.windows(2, 30)
    for _ in range(3):
        found = load(file, cache, dtype=dtype)
        assert found.fingerprint == fingerprint(direct)
        assert found.dtype == str(direct.dtype).removeprefix("torch.")
        theirs = dict(direct.named_parameters())
        assert all(torch.equal(p, theirs.pop(name)) for name, p in found.model.named_parameters())
        assert not theirs
        with torch.inference_mode():
            assert torch.equal(found.model(input_ids=windows).logits, direct(input_ids=windows).logits)
        for text in (TEXT, " ab abcd x3 cdab  \u2581 é", ""):
            for special in (False, True):
                ids, expected = (t(text, add_special_tokens=special) for t in (found.tokenizer, its_tokenizer))
                assert ids["input_ids"] == expected["input_ids"]
        for name in ("bos_token_id", "eos_token_id", "unk_token_id", "vocab_size"):
            assert getattr(found.tokenizer, name) == getattr(its_tokenizer, name)
    assert reads.count == 1
    assert len(kept(cache)) == 1
    assert not list(kept(cache)[0].glob("READ*"))


def test_rotary_factors_survive(tmp_path: Path) -> None:
    rope = {**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 8192}
    expected = model(rope_parameters=rope).model.rotary_emb.inv_freq
    for _ in range(2):
        assert torch.equal(load(scaled(tmp_path / "m.gguf"), tmp_path).model.model.rotary_emb.inv_freq, expected)


def test_a_copy_under_another_name_is_not_converted_again(tmp_path: Path, reads: Reads) -> None:
    file = write(tmp_path / "m.gguf")
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "other.gguf"
    copy.write_bytes(file.read_bytes())
    stages: list[str] = []
    assert (
        load(file, tmp_path, stage=stages.append).fingerprint == load(copy, tmp_path, stage=stages.append).fingerprint
    )
    assert (reads.count, stages) == (1, ["converting m.gguf, once"])
    note = json.loads((kept(tmp_path)[0] / "conversion.json").read_text())
    assert (note["file"], note["dtype"]) == ("m.gguf", "float32")


def test_other_bytes_another_dtype_or_another_version_are_converted_anew(
    tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "m.gguf")
    first = load(file, tmp_path)
    with torch.no_grad():
        other = model()
        other.model.norm.weight[3] += 2**-20
    write(file, source=other)
    changed = load(file, tmp_path)
    assert changed.fingerprint == fingerprint(read_gguf(file, "float32")[0]) != first.fingerprint
    load(file, tmp_path, dtype="bfloat16")
    assert reads.count == len(kept(tmp_path)) == 3
    monkeypatch.setattr(converted, "CONVERSION", converted.CONVERSION + 1)
    load(file, tmp_path)
    version = converted.distribution_version
    for count, library in enumerate(("transformers", "tokenizers", "gguf"), 5):
        with monkeypatch.context() as patch:
            patch.setattr(converted, "distribution_version", lambda n, at=library: "0" if n == at else version(n))
            load(file, tmp_path)
        assert reads.count == len(kept(tmp_path)) == count


def test_a_tokenizer_beside_the_file_belongs_to_it(tmp_path: Path, reads: Reads) -> None:
    """transformers takes a ``tokenizer.json`` that lies beside a GGUF file in place of the file's own."""
    (tmp_path / "model").mkdir()
    file = write(tmp_path / "model" / "m.gguf")
    own = load(file, tmp_path).tokenizer("w5 w6", add_special_tokens=False)["input_ids"]
    tokenizer().save_pretrained(file.parent)
    for _ in range(2):
        found = load(file, tmp_path).tokenizer("w5 w6", add_special_tokens=False)["input_ids"]
        assert found == read_gguf(file, "float32")[1]("w5 w6", add_special_tokens=False)["input_ids"] == [5, 6] != own
    assert reads.count == 2


def test_every_file_that_a_tokenizer_of_transformers_reads_is_a_companion() -> None:
    names = {"tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "config.json"}
    names |= {"generation_config.json", "chat_template.jinja", "tekken.json", "tiktoken.model", "tokenizer.model.v3"}
    for kind in sorted(filter(None, TOKENIZER_MAPPING_NAMES.values())):
        try:
            names |= set(tokenizer_class_from_name(kind).vocab_files_names.values())
        except (ImportError, AttributeError):  # it needs a library that is not installed
            continue
    assert len(names) > 15
    assert not [name for name in names if not any(fnmatch(name, form) for form in converted._COMPANIONS)]
    assert not any(fnmatch("result.json", form) for form in converted._COMPANIONS)


def other_key(file: Path) -> None:
    write(file, {"attention.scale": 0.5})


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def beside_an_adapter(file: Path) -> None:
    (file.parent / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize("spoil", [other_key, cut_short, beside_an_adapter])
def test_a_refused_file_is_refused_every_time_and_leaves_nothing(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    file, cache = write(tmp_path / "m.gguf"), tmp_path / "cache"
    spoil(file)
    lines = set()
    for _ in range(3):
        with pytest.raises(CheckpointError) as caught:
            load(file, cache)
        lines.add(str(caught.value))
        assert not kept(cache)
        assert not list(cache.glob("models/.*"))
    assert len(lines) == 1


def test_an_adapter_that_comes_later_is_refused_too(tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf")
    load(file, tmp_path / "cache")
    beside_an_adapter(file)
    with pytest.raises(CheckpointError, match="merge"):
        load(file, tmp_path / "cache")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "conversion.json"])
def test_a_damaged_conversion_is_made_again(tmp_path: Path, reads: Reads, name: str) -> None:
    file = write(tmp_path / "m.gguf")
    first = load(file, tmp_path).fingerprint
    path = kept(tmp_path)[0] / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert load(file, tmp_path).fingerprint == load(file, tmp_path).fingerprint == first
    assert reads.count == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(folder: Path) -> None:
        raise error

    file = write(tmp_path / "m.gguf")
    with monkeypatch.context() as patch:
        patch.setattr(converted, "seal", interrupted)
        with pytest.raises(error):
            load(file, tmp_path)
    assert not list((tmp_path / "models").iterdir())
    load(file, tmp_path)


def test_a_cache_that_cannot_be_written_works_with_a_warning(tmp_path: Path, reads: Reads) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    file, lines = write(tmp_path / "m.gguf"), []
    found = load(file, tmp_path, lines.append)
    assert found.fingerprint == fingerprint(read_gguf(file, "float32")[0])
    assert reads.count == 1  # it is seen before the file is read
    (line,) = lines
    assert "m.gguf is read anew at every run" in line
    assert "LANDSCAPE_CACHE" in line


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.gguf")

    def growing(path: Path, dtype: str) -> Any:
        read = read_gguf(path, dtype)
        path.write_bytes(path.read_bytes() + b"more")
        return read

    monkeypatch.setattr(converted, "read_gguf", growing)
    with pytest.raises(CheckpointError, match=r"m\.gguf to stay as it is while it is read"):
        load(file, tmp_path)
    assert not kept(tmp_path)


def change_a_weight(found: Any) -> Any:
    with torch.no_grad():
        found[0].model.norm.weight[0] += 1
    return found


def change_a_token(found: Any) -> Any:
    found[1].add_tokens(["!$"])
    return found


@pytest.mark.parametrize("change", [change_a_weight, change_a_token])
def test_what_is_not_the_same_when_it_is_read_back_is_read_anew(
    tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]
) -> None:
    read_folder = converted.read_folder
    file = write(tmp_path / "m.gguf")
    direct, own = read_gguf(file, "float32")
    with monkeypatch.context() as patch:
        patch.setattr(converted, "read_folder", lambda *given: change(read_folder(*given)))
        for _ in range(2):
            found = load(file, tmp_path)
            assert found.fingerprint == fingerprint(direct)
            assert found.tokenizer("!$")["input_ids"] == own("!$")["input_ids"]
    assert reads.count == 3  # the first time twice, and never written again
    assert not list(kept(tmp_path)[0].glob("*.safetensors"))


def test_no_bar_of_another_library_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "m.gguf")
    load(tmp_path / "m.gguf", tmp_path)
    assert capsys.readouterr() == ("", "")
