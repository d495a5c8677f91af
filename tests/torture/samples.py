"""Valid input of every kind, small, and made once a process: what the strategies of ``parsers`` change."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import io
import json
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, Qwen3Config, Qwen3ForCausalLM

from landscape.records.record import save_record
from landscape.study.result import StudyResult
from landscape.survey.result import SurveyResult
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from tests import tiny
from tests.landscape import stores
from tests.landscape.records.invented import invent
from tests.quant.checkpoints import test_gguf_file
from tests.quant.external import folders, test_floats
from tests.tiny_tokenizer import tokenizer, words

Files = dict[str, bytes]
"""Files of a folder, by their relative paths."""


def files_of(folder: Path) -> Files:
    """All files under a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_files(files: Files, folder: Path) -> Path:
    """Write files into a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@functools.cache
def home() -> Path:
    """A folder that lives as long as the process."""
    return Path(tempfile.mkdtemp(prefix="torture-"))


def gpt_neox() -> nn.Module:
    config = GPTNeoXConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config).eval()


def qwen3() -> nn.Module:
    config = Qwen3Config(
        vocab_size=tiny.VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=4, intermediate_size=24, max_position_embeddings=64, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "llama": tiny.llama, "opt": tiny.opt, "gpt_neox": gpt_neox, "gpt2": tiny.gpt2, "qwen3": qwen3
}  # fmt: skip


@functools.cache
def model_folder(family: str) -> Path:
    """A folder with a model of a family and its tokenizer."""
    folder = home() / family
    FAMILIES[family]().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@functools.cache
def model_files(family: str) -> Files:
    return files_of(model_folder(family))


@functools.cache
def checkpoint() -> Checkpoint:
    """The model that the points of other tools were made of."""
    return load_checkpoint(str(model_folder("llama")))


@functools.cache
def gguf_file() -> bytes:
    return test_gguf_file.write(home() / "model.gguf").read_bytes()


EXTERNAL: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    **folders.KINDS,
    "fp8": ({"quant_method": "fp8"}, test_floats.per_tensor),
    "fp8 in blocks": ({"quant_method": "fp8", "weight_block_size": [8, 8]}, test_floats.deepseek),
    "block": (test_floats.config("float-quantized", 8, block_structure=[8, 8]), test_floats.ct_block),
    "nvfp4": (test_floats.config("nvfp4-pack-quantized", 4), test_floats.nvfp4_layer),
    "mxfp4": (test_floats.config("mxfp4-pack-quantized", 4), lambda slot: test_floats.mx_layer(slot, 4)),
}
NOT_READ = [
    {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}},
    {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
    {"quant_method": "modelopt", "quant_algo": "FP8", "quantization": {"quant_algo": "NVFP4"}},
    {"quant_method": "mxfp4", "modules_to_not_convert": ["model.embed"]},
    {"quant_method": "fbgemm_fp8", "weight_scale_semantics": "inverse"},
]


@functools.cache
def external_files(kind: str) -> Files:
    """A folder that another tool made of the checkpoint."""
    folder = home() / f"external-{kind}"
    if kind == "quantize_config.json":
        config, make = folders.BESIDE[kind]
        folders.write(folder, checkpoint(), config, make)
        plain = json.loads((folder / "config.json").read_text())
        (folder / kind).write_text(json.dumps(plain.pop("quantization_config")))
        (folder / "config.json").write_text(json.dumps(plain))
    else:
        folders.write(folder, checkpoint(), *EXTERNAL[kind])
    return files_of(folder)


def text(rows: int = 30) -> str:
    """A text of the tiny tokenizer's words, with headings of articles."""
    lines = [words(np.random.default_rng(i).integers(3, tiny.VOCABULARY, 20).tolist()) for i in range(rows)]
    return "".join(f" = w{3 + i} = \n\n {line}\n\n" for i, line in enumerate(lines))


def _zstd(content: bytes) -> bytes:
    return bytes(pyarrow.compress(content, "zstd", asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": _zstd,
}


@functools.cache
def corpus(kind: str) -> bytes:
    """A text as ``.txt``, ``.jsonl`` or ``.parquet``."""
    documents = [part for part in text().split("\n\n") if part.strip()]
    if kind == ".jsonl":
        return "".join(json.dumps({"text": each}) + "\n" for each in documents).encode()
    if kind == ".parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"text": documents, "id": range(len(documents))}), sink)
        return sink.getvalue()
    return text().encode()


@functools.cache
def run_file(kind: str) -> bytes:
    """A kept run with random content."""
    path = home() / f"{kind}.json"
    result = {"survey": SurveyResult, "study": StudyResult}[kind]
    save_record(invent(result, np.random.default_rng(5)), path, "landscape probe")
    return path.read_bytes()


@functools.cache
def store_files() -> Files:
    """A store with probes, points and settings."""
    root = home() / "store"
    held = stores.store(root)
    held.commit([stores.result(f"ray/{i}") for i in range(3)], {"device": "cpu"})
    held.settings({"threads": 1, "evaluation": 2})
    for name, point in (("gptq", stores.grid_point("channel", False)), ("w_ft", stores.float_point())):
        held.save_point(json.dumps({"method": name}), stores.SPACE, point)
    return files_of(root)


@functools.cache
def training_state() -> tuple[str, bytes]:
    """Name and content of the state of a run that was killed."""
    from tests.quant.finetuning import OTHER, make, run
    from tests.quant.methods.test_training_resume import TWO_RATES, Killed, Killer

    folder = home() / "training"
    folder.mkdir()
    with contextlib.suppress(Killed):
        run(make("opt"), TWO_RATES, OTHER, progress=Killer(9), folder=folder)
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


def make_all() -> None:
    """Make every sample, so that processes that are forked have them."""
    gguf_file(), checkpoint(), store_files(), training_state()
    for family in FAMILIES:
        model_files(family)
    for external in (*EXTERNAL, "quantize_config.json"):
        external_files(external)
    for kind in (".txt", ".jsonl", ".parquet"):
        corpus(kind)
    for run in ("survey", "study"):
        run_file(run)


STUDY = """
name = "small models"
models = ["opt-nano", "a model"]
data = ["tales", "my texts"]
bits = [4, "nvfp4"]
seq-len = 64
qaft_rates = [1e-4, 0.001]
symmetric = false
scale = "absmax"
granularity = "group:8"
plane = true
methods = ["rtn", "gptq"]
directions = 4
"""
torch.set_num_threads(1)
