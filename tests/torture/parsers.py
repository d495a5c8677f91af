"""Table of all that reads what others wrote: a strategy that makes input, and the function that reads it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from landscape.cli.commands import COMMANDS
from landscape.cli.request_options import request_options
from quant.files.hashed_files import write_hashed
from tests.torture import readers, samples
from tests.torture.formats import gguf_files, joined, retyped, split, tensor_files
from tests.torture.mutations import changed_bytes, changed_json, changed_text, changed_value, texts
from tests.torture.samples import Files

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


@dataclass(frozen=True)
class Parser:
    """One kind of input."""

    name: str
    make: st.SearchStrategy[Any]
    """Input: valid, and changed in some places."""
    read: Callable[[Any], object]
    """Reads it as the commands do; a ToolkitError refuses it."""

    @property
    def loads_model(self) -> bool:
        """Whether it may load a whole model, which takes longer than to read a file."""
        return self.read is readers.model


@st.composite
def configurations(draw: st.DrawFn, family: str) -> Files:
    files = samples.model_files(family)
    return {**files, CONFIG: draw(changed_json(json.loads(files[CONFIG])))}


@st.composite
def weights(draw: st.DrawFn) -> Files:
    files = samples.model_files("llama")
    change = retyped if draw(st.booleans()) else tensor_files
    return {**files, WEIGHTS: draw(change(files[WEIGHTS]))}


@st.composite
def indices(draw: st.DrawFn) -> Files:
    files = dict(samples.model_files("llama"))
    content = files.pop(WEIGHTS)
    shard = "model-00001-of-00001.safetensors"
    names = [name for name in split(content)[0] if name != "__metadata__"]
    index = {"metadata": {"total_size": len(content)}, "weight_map": dict.fromkeys(names[:5], shard)}
    return {**files, shard: content, INDEX: draw(changed_json(index))}


@st.composite
def tokenizers(draw: st.DrawFn) -> Files:
    files = samples.model_files("llama")
    name = draw(st.sampled_from(("tokenizer_config.json", "tokenizer.json", "generation_config.json")))
    return {**files, name: draw(changed_json(json.loads(files[name])))}


@st.composite
def quantizations(draw: st.DrawFn) -> Files:
    """A folder of another tool whose settings were changed."""
    kind = draw(st.sampled_from((*samples.EXTERNAL, "quantize_config.json", "other")))
    files = dict(samples.external_files("gptq" if kind == "other" else kind))
    config = json.loads(files[CONFIG])
    if kind == "quantize_config.json":
        return {**files, kind: draw(changed_json(json.loads(files[kind])))}
    own = draw(st.sampled_from(samples.NOT_READ)) if kind == "other" else config["quantization_config"]
    config["quantization_config"] = changed_value(draw, own)
    content = draw(changed_json(config, 1)) if draw(st.booleans()) else json.dumps(config).encode()
    return {**files, CONFIG: content}


@st.composite
def packed(draw: st.DrawFn) -> Files:
    """A folder of another tool whose tensors were changed."""
    files = samples.external_files(draw(st.sampled_from(list(samples.EXTERNAL))))
    change = retyped if draw(st.integers(0, 4)) else tensor_files
    return {**files, WEIGHTS: draw(change(files[WEIGHTS]))}


@st.composite
def corpora(draw: st.DrawFn) -> Files:
    """A text file of any ending, changed before it is packed, after that, or both; or a bomb."""
    kind, ending = draw(st.sampled_from((".txt", ".jsonl", ".parquet"))), draw(st.sampled_from(list(samples.PACKERS)))
    content = samples.corpus(kind)
    name = f"x{kind}{ending}"
    if draw(st.integers(0, 20)) == 0:
        return {name: samples.PACKERS[ending](bytes(2 * readers.TEXT_BYTES))}
    if kind == ".jsonl" and draw(st.booleans()):
        lines = [draw(changed_json({"text": "w3 w4", "id": 1})), *content.splitlines()[:5]]
        content = b"\n".join(lines)
    elif draw(st.booleans()):
        content = draw(changed_bytes(content, head=200))
    if kind == ".parquet" and draw(st.booleans()):  # its description is at its end
        content = draw(changed_bytes(content[::-1], head=900))[::-1]
    content = samples.PACKERS[ending](content)
    if ending and draw(st.booleans()):
        content = draw(changed_bytes(content, head=40))
    return {name: content}


@st.composite
def runs(draw: st.DrawFn) -> Files:
    """A kept run: changed, or its result changed and hashed anew."""
    from landscape.records.record import _hash

    kind = draw(st.sampled_from(("survey", "study")))
    content = samples.run_file(kind)
    match draw(st.integers(0, 3)):
        case 0:
            return {"x.json": draw(changed_bytes(content))}
        case 1:
            return {"x.json": draw(changed_json({**json.loads(content), "result": {"run": {}}}))}
    held = json.loads(content)
    held["result"] = changed_value(draw, held["result"])
    held["sha256"] = _hash(held["result"])
    if draw(st.booleans()):
        held = changed_value(draw, held, 1)
    return {"x.json": json.dumps(held).encode()}


@st.composite
def stored(draw: st.DrawFn) -> Files:
    """The files of a store, some of them changed; an HDF5 file has its own hash as its name, or the old one."""
    files = dict(samples.store_files())
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        if name.endswith(".json"):
            files[name] = draw(changed_json(json.loads(files[name])))
        else:
            files[name] = draw(changed_bytes(files[name], head=3000))
    return readers.renamed(files) if draw(st.booleans()) else files


_STATE_NAMES = ("x", "best/x", "optimizer/a/b", "optimizer/0", "optimizer/99/step", "master/", "best")


@st.composite
def training_states(draw: st.DrawFn) -> Files:
    """The state of a training run: changed, or with other content under the right hash."""
    name, content = samples.training_state()
    if draw(st.booleans()):
        return {name: draw(tensor_files(content))}
    header, _ = split(content)
    from safetensors.torch import load

    metadata = {**header["__metadata__"]}
    metadata.pop("sha256")
    tensors = load(content)
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from(sorted(tensors)))
        tensor = tensors.pop(key)
        match draw(st.integers(0, 4)):
            case 0:
                tensors[draw(st.sampled_from(_STATE_NAMES))] = tensor
            case 1:
                tensors[key] = tensor.reshape(-1)[:3].clone()
            case 2:
                tensors[key] = tensor.bool()
    metadata["run"] = draw(changed_json(json.loads(metadata["run"]))).decode("latin-1")
    path = samples.home() / f"state-{draw(st.integers(0, 2**32))}.safetensors"
    write_hashed(path, tensors, metadata)
    made = path.read_bytes()
    path.unlink()
    return {name: made}


@st.composite
def studies(draw: st.DrawFn) -> Files:
    text = samples.STUDY
    for _ in range(draw(st.integers(1, 2))):
        lines = text.splitlines()
        place = draw(st.integers(0, len(lines) - 1))
        lines[place] = draw(st.one_of(changed_text(lines[place]), st.sampled_from(_TOML)))
        text = "\n".join(lines)
    content = text.encode("utf-8", "surrogatepass")
    return {"x.toml": draw(changed_bytes(content)) if draw(st.booleans()) else content}


_TOML = (
    "bits = " + "[" * 3000 + "]" * 3000, "directions = " + "1" * 5000, "directions = 0x" + "f" * 5000,
    "a" + ".a" * 3000 + " = 1", "bits = inf", "bits = nan", "directions = -1", "directions = 1e400", 'name = ""',
    'name = "a/b"', '"" = 1', '"a b" = 1', "help = true", 'help = "x"', "debug = true", "yes = 1", "bits = []",
    'models = ""', 'models = "\\u0000"', "models = 1979-05-27", "bits = 99999999999999999999", "seq-len = 1.5",
    'data = ["a", ["b"]]', "[a.b]", "[[a]]", 'store = "\\u0000"', 'name = "\\u001b[31m"', '"-" = 1', 'shard = "1/0"',
    '"--" = "x"', "symmetric = 1", 'plane = "yes"', "json = false", "quiet = true\nverbose = true", "x.y = 1",
)  # fmt: skip

_GOOD = {
    "--limit": ("ppl+5%", "nll+0.05"), "--size": ("4.25bpw",), "--granularity": ("tensor", "channel", "group:128"),
    "--bits": ("4", "8,4,2", "nvfp4"), "--device": ("cpu", "cuda:0", "auto"), "--shard": ("1/3", "auto"),
    "--lambdas": ("0.1,0.2",), "--qaft-rates": ("1e-4,0.001",), "--methods": ("rtn,gptq",), "--point": ("a=b",),
    "--scale": ("exact", "absmax"), "--data": ("tales", "hf:a/b:c"), "--model": ("opt-nano", "a/b", "./x.gguf"),
    "--plan-bits": ("8,6,4,3",), "--exclude": ("*.experts.0.*",), "--precision": ("0.05",), "--ray-address": ("h:1",),
}  # fmt: skip
_LEFT = {"--output", "--csv", "--figures", "--export", "--store", "--open"}
"""Options that name places to write to."""


@functools.cache
def _flags() -> list[tuple[str, str, bool]]:
    """All options of all commands that take a value, and the switches."""
    found = []
    for command in COMMANDS:
        for field in request_options(command.request).values():
            for option in field.options:
                if option.flag not in _LEFT:
                    found.append((command.name, option.flag, option.kind is bool))
    return found


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[str, ...]:
    name, flag, is_switch = draw(st.sampled_from(_flags()))
    words = [name]
    others = [(flag, is_switch)] + [
        (f, b) for n, f, b in draw(st.lists(st.sampled_from(_flags()), max_size=2)) if n == name
    ]
    for each, switch in others:
        value = draw(st.one_of(changed_text(draw(st.sampled_from(_GOOD.get(each, ("4", "0.5", "x"))))), texts()))
        words += [each] if switch else [f"{each}={value}"] if draw(st.booleans()) else [each, value]
    return tuple(words)


@st.composite
def kept_names(draw: st.DrawFn) -> str:
    good = ("opt-nano", "tales", "gpt2", "a/b", "hf:a/b:c", "./x.gguf", "x.txt", "wikitext2", "self", "x.json", "~/x")
    return draw(st.one_of(texts(), changed_text(draw(st.sampled_from(good)))))


def caches() -> st.SearchStrategy[Files]:
    """A cache folder: stores and runs that were changed."""

    def together(held: Files, run: Files) -> Files:
        folder = next(iter(held)).partition("/")[0]
        return {**held, f"{folder}/runs/survey-x-00000000.json": run["x.json"]}

    return st.builds(together, stored(), runs())


PARSERS = (
    Parser("gguf", gguf_files(), readers.model),
    Parser("safetensors", weights(), readers.model),
    Parser("index", indices(), readers.model),
    *(Parser(f"config-{family}", configurations(family), readers.model) for family in samples.FAMILIES),
    Parser("tokenizer", tokenizers(), readers.model),
    Parser("quantization", quantizations(), readers.point),
    Parser("packed", packed(), readers.point),
    Parser("corpus", corpora(), readers.text),
    Parser("run", runs(), readers.run_file),
    Parser("store", stored(), readers.store),
    Parser("cache", caches(), readers.cache),
    Parser("training", training_states(), readers.training),
    Parser("study", studies(), readers.study),
    Parser("name", kept_names(), readers.names),
    Parser("option", command_lines(), readers.options),
)
__all__ = ["PARSERS", "Parser", "joined"]
