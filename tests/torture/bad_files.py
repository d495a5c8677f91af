"""Make models, texts, points and other files that no command can use, each in a way of its own."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.materials import Materials


@dataclass(frozen=True)
class BadFile:
    """One bad input."""

    name: str
    words: str
    """The command; ``{bad}`` is the place of the file or folder."""
    make: Callable[[Materials, Path], None]
    """Function that makes it under a path that does not exist yet."""


_PROBE = (
    "probe --seq-len 12 --directions 2 --windows 2 --test-windows 1 --lambda-count 4 --alphas 2 --refinements 0 "
    "--bits 2 --methods rtn --output page --json"
)
_AS_MODEL = f"{_PROBE} --model {{bad}} --data {{m.words}}"
_AS_TEXT = f"{_PROBE} --model {{m.llama}} --data {{bad}}"
_AS_POINT = f"{_PROBE} --model {{m.llama}} --data {{m.words}} --point q={{bad}}"


def _copy(change: Callable[[Path], object]) -> Callable[[Materials, Path], None]:
    def make(materials: Materials, path: Path) -> None:
        shutil.copytree(materials.llama, path)
        change(path)

    return make


def _json(name: str, **changes: Any) -> Callable[[Path], None]:
    """Change entries of a JSON file of a model; None removes one."""

    def change(folder: Path) -> None:
        held = json.loads((folder / name).read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in held.items() if value is not None}
        (folder / name).write_text(json.dumps(kept), encoding="utf-8")

    return change


def _content(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        held = (folder / name).read_bytes()
        (folder / name).write_bytes(held[: int(len(held) * share)])

    return change


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def _header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the header of a model's safetensors file, and leave its data."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = path.read_bytes()
        (length,) = struct.unpack("<Q", held[:8])
        header = json.loads(held[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + held[8 + length :])

    return apply


def _first(header: dict[str, Any]) -> dict[str, Any]:
    return header[next(name for name in sorted(header) if name != "__metadata__" and "proj" in name)]


def _rename(header: dict[str, Any]) -> None:
    name = next(name for name in sorted(header) if name != "__metadata__")
    header[f"{name}.other"] = header.pop(name)


def _filled(number: bytes) -> Callable[[Path], None]:
    """Fill all weights with one float32."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = path.read_bytes()
        (length,) = struct.unpack("<Q", held[:8])
        path.write_bytes(held[: 8 + length] + number * ((len(held) - 8 - length) // 4))

    return change


def _index(entries: dict[str, str]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = {"metadata": {"total_size": 1}, "weight_map": entries}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    return change


_WEIGHTS, _CONFIG, _TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
_CONFIGS: dict[str, Any] = {
    "hidden_size": [0, -16, 10**12, 17, "16", 1.5, None, [16], True],
    "num_hidden_layers": [0, -1, 10**9, 3, "2"],
    "num_attention_heads": [0, 5, -4, 10**9],
    "num_key_value_heads": [0, 3, 10**9],
    "intermediate_size": [0, 10**12, 25],
    "vocab_size": [0, 1, -61, 10**12, 60, 62],
    "max_position_embeddings": [0, -1, 4, 10**15],
    "model_type": ["", "no-such", "bert", "t5", 7, None, "../x", "opt"],
    "architectures": [[], ["NoSuch"], "LlamaForCausalLM", [7], ["T5ForConditionalGeneration"]],
    "rms_norm_eps": [0, -1, "x", float("nan"), 1e300],
    "hidden_act": ["no-such", 7, "", "relu"],
    "rope_parameters": [{}, {"rope_type": "no-such"}, {"rope_theta": 0, "rope_type": "default"}, 7],
    "torch_dtype": ["float1", "int8", 7],
    "dtype": ["float1", "int8", 7],
    "quantization_config": [
        {},
        {"quant_method": "gptq"},
        {"quant_method": "no-such"},
        7,
        {"quant_method": "bitsandbytes"},
    ],
    "auto_map": [{"AutoModelForCausalLM": "code.Model"}, 7],
    "tie_word_embeddings": ["x", True],
}
_CONTENTS = {
    "empty": b"", "text": b"hello", "null": b"null", "list": b"[]", "number": b"1e999", "deep": b"[" * 100_000,
    "binary": bytes(range(256)) * 8, "zeros": bytes(4096), "utf-16": "{}".encode("utf-16"), "bom": b"\xef\xbb\xbf{}",
    "open": b'{"a": ', "twice": b'{"model_type": "llama", "model_type": "opt"}',
}  # fmt: skip
_HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "shape": lambda header: _first(header).update(shape=[10**9, 10**9]),
    "negative": lambda header: _first(header).update(shape=[-1, 16]),
    "flat": lambda header: _first(header).update(shape=[256]),
    "dtype": lambda header: _first(header).update(dtype="F99"),
    "integers": lambda header: _first(header).update(dtype="I32"),
    "offsets": lambda header: _first(header).update(data_offsets=[0, 10**15]),
    "backwards": lambda header: _first(header).update(data_offsets=[64, 0]),
    "renamed": _rename,
    "no-tensors": lambda header: header.clear(),
    "metadata": lambda header: header.update(__metadata__={"format": "no-such"}),
}


def _models() -> list[BadFile]:
    changes: dict[str, Callable[[Path], object]] = {}
    for key, values in _CONFIGS.items():
        changes |= {f"config {key} {value!r}": _json(_CONFIG, **{key: value}) for value in values}
    for name in (_CONFIG, _WEIGHTS, _TOKENIZER, "tokenizer_config.json", "generation_config.json"):
        changes |= {f"{name} {kind}": _content(name, content) for kind, content in _CONTENTS.items()}
        changes |= {f"{name} cut at {share}": _cut(name, share) for share in (0.01, 0.5, 0.99)}
        changes[f"{name} missing"] = _without(name)
        changes[f"{name} a folder"] = _instead(name, lambda path: path.mkdir())
        changes[f"{name} a pipe"] = _instead(name, os.mkfifo)
        changes[f"{name} a link to itself"] = _instead(name, lambda path: path.symlink_to(path))
        changes[f"{name} /dev/zero"] = _instead(name, lambda path: path.symlink_to("/dev/zero"))
    changes |= {f"header {name}": _header(change) for name, change in _HEADERS.items()}
    for name, number in (
        ("nan", b"\0\0\xc0\x7f"),
        ("inf", b"\0\0\x80\x7f"),
        ("zeros", bytes(4)),
        ("1e30", b"\xca\xf2\x49\x71"),
    ):
        changes[f"weights all {name}"] = _filled(number)
    changes["length of the header 2^63"] = _content(_WEIGHTS, struct.pack("<Q", 2**63) + b"{}")
    changes["length of the header 2^40"] = _content(_WEIGHTS, struct.pack("<Q", 2**40) + b"{}")
    for name, entries in (
        ("missing", {"model.norm.weight": "none.safetensors"}), ("outside", {"model.norm.weight": "../../x"}),
        ("empty", {}), ("number", {"model.norm.weight": 7}), ("folder", {"model.norm.weight": "."}),
    ):  # fmt: skip
        changes[f"index {name}"] = _index(entries)  # type: ignore[arg-type]
    changes["no files"] = lambda folder: [path.unlink() for path in folder.iterdir()]
    changes["pickle"] = lambda folder: (
        (folder / _WEIGHTS).unlink(),
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04."),
    )
    return [BadFile(f"model, {name}", _AS_MODEL, _copy(change)) for name, change in changes.items()]


def _file(content: bytes, name: str = "") -> Callable[[Materials, Path], None]:
    def make(materials: Materials, path: Path) -> None:
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    return make


def _named(suffix: str, name: str, words: str, make: Callable[[Materials, Path], None]) -> BadFile:
    return BadFile(name, words.replace("{bad}", f"{{bad}}{suffix}"), lambda m, path: make(m, Path(f"{path}{suffix}")))


def _gguf(change: Callable[[bytes], bytes]) -> Callable[[Materials, Path], None]:
    return lambda materials, path: _file(change(materials.gguf.read_bytes()))(materials, path)


_GGUF: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda held: b"", "magic": lambda held: held[:4], "cut": lambda held: held[: len(held) // 2],
    "short": lambda held: held[:-1], "head": lambda held: held[:200],
    "version 9": lambda held: held[:4] + b"\x09" + held[5:],
    "big endian": lambda held: held[:4] + held[4:8][::-1] + held[8:],
    "tensors 2^60": lambda held: held[:8] + struct.pack("<Q", 2**60) + held[16:],
    "tensors 0": lambda held: held[:8] + struct.pack("<Q", 0) + held[16:],
    "keys 2^60": lambda held: held[:16] + struct.pack("<Q", 2**60) + held[24:],
    "keys 0": lambda held: held[:16] + struct.pack("<Q", 0) + held[24:],
    "key of 2^60": lambda held: held[:24] + struct.pack("<Q", 2**60) + held[32:],
    "zeros": lambda held: bytes(len(held)), "text": lambda held: b"hello" * 100, "more": lambda held: held + held,
    "other architecture": lambda held: held.replace(b"llama", b"lmama"),
    "hostile architecture": lambda held: held.replace(b"llama", b"../\x1b["),
    "renamed tensors": lambda held: held.replace(b"blk.0.", b"blk.7."),
    "no tokens": lambda held: held.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"),
}  # fmt: skip
_TEXTS: dict[str, tuple[str, bytes]] = {
    "empty": (".txt", b""), "a word": (".txt", b"w5"), "spaces": (".txt", b" \n" * 5000),
    "zeros": (".txt", bytes(5000)),
    "binary": (".txt", bytes(range(256)) * 20), "utf-16": (".txt", ("w5 w6 " * 500).encode("utf-16")),
    "one word": (".txt", b"w" * 50_000), "unknown words": (".txt", b"xyz " * 5000), "a token": (".txt", b"w5 " * 5000),
    "short": (".txt", b"w5 w6 w7 " * 8), "no suffix": ("", b"w5 w6 " * 500), "csv": (".csv", b"a,b\n1,2\n" * 99),
    "jsonl list": (".jsonl", b"[]\n" * 9), "jsonl open": (".jsonl", b'{"text": "w5'),
    "jsonl null": (".jsonl", b"null\n"),
    "jsonl number": (".jsonl", b'{"text": 7}\n' * 99), "jsonl other key": (".jsonl", b'{"t": "w5 w6"}\n' * 999),
    "jsonl deep": (".jsonl", b"[" * 100_000), "jsonl surrogate": (".jsonl", b'{"text": "\\ud800 w5"}\n' * 500),
    "jsonl nan": (".jsonl", b'{"text": NaN}\n' * 99), "jsonl empty": (".jsonl", b"\n\n\n"),
    "parquet empty": (".parquet", b""),
    "parquet text": (".parquet", b"hello"), "parquet magic": (".parquet", b"PAR1" + b"\xff" * 64 + b"PAR1"),
}  # fmt: skip
_RUNS = {
    "empty": b"",
    "text": b"hello",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "deep": b"[" * 100_000,
    "nan": b'{"format": NaN}',
    "binary": bytes(range(256)),
    "number": b"9" * 5000,
    "version": b'{"format": "quant-landscape run", "version": 99, "kind": "survey", "written_by": {}, "command": "x", '
    b'"sha256": "x", "result": {}}',
    "kind": b'{"format": "quant-landscape run", "version": 1, "kind": "os:system", "written_by": {}, "command": "x", '
    b'"sha256": "x", "result": {}}',
    "hash": b'{"format": "quant-landscape run", "version": 1, "kind": "survey", "written_by": {}, "command": "x", '
    b'"sha256": "x", "result": {}}',
    "result": b'{"format": "quant-landscape run", "version": 1, "kind": "survey", "written_by": {}, "command": "x", '
    b'"sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "result": {}}',
}
_STUDIES = {
    "no toml": b"hello", "binary": bytes(range(256)), "table": b"[models]\na = 1\n", "date": b"bits = 2020-01-01\n",
    "nested": b"bits = [[8]]\n", "unknown": b"no_such = 1\n", "huge": b"directions = 9223372036854775807\n",
    "float": b"directions = 1.5\n", "nan": b"directions = nan\n", "negative": b"directions = -1\n",
    "deep": b"a = " + b"[" * 5000, "twice": b"bits = [2]\nbits = [3]\n",
    "hostile": b'name = "\\u001b[31m[red]"\nbits = [1]\n',
    "no list": b"bits = [true]\n", "path": b'models = ["/dev/null"]\n', "key": b'"a b" = 1\n', "dash": b'"-m" = "x"\n',
    "help": b"help = true\n", "flag": b'json = "x"\n',
}  # fmt: skip


def _others() -> list[BadFile]:
    found = [_named(".gguf", f"GGUF, {name}", words, _gguf(change)) for name, change in _GGUF.items()
             for words in (_AS_MODEL, _AS_POINT)]  # fmt: skip
    found += [_named(suffix, f"text, {name}", _AS_TEXT, _file(held)) for name, (suffix, held) in _TEXTS.items()]
    for name, (suffix, held) in _TEXTS.items():
        found.append(BadFile(f"texts, {name}", _AS_TEXT, _file(held, f"train{suffix}")))
    for name, held in _RUNS.items():
        found += [_named(".json", f"run, {name}", words, _file(held)) for words in (
            "plot {bad} --json", "report {bad} --json --output r.html", "export {bad} -o e.h5 --json",
        )]  # fmt: skip
    found += [_named(".toml", f"study, {name}", "study {bad} --json", _file(held)) for name, held in _STUDIES.items()]
    for name, held in _CONTENTS.items():
        for file in ("model.safetensors", "config.json", "quantize_config.json", "model.safetensors.index.json"):
            found.append(BadFile(f"point, {file} {name}", _AS_POINT, _file(held, file)))
    found += [BadFile(f"point, {bad.name}", _AS_POINT, bad.make) for bad in _models()[::3]]
    return found


def bad_files() -> list[BadFile]:
    """List all bad files, in an order that stays."""
    return _models() + _others()
