"""Strategies that change GGUF and safetensors in their structure: counts, lengths, types, shapes, offsets."""

from __future__ import annotations

import functools
import json
import struct
from typing import Any

import gguf
import torch
from hypothesis import strategies as st
from safetensors.torch import load, save

from tests.torture import samples
from tests.torture.mutations import changed_bytes, changed_json, changed_value, integers

_KV_COUNT = 16
"""Place of the number of entries of a GGUF header."""
_ENTRIES = 24
"""Place of its first entry."""
_STRING, _ARRAY = 8, 9
_DTYPES = (
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "F8_E4M3", "F8_E5M2",
    "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2", "C64", "X", "",
)  # fmt: skip


@functools.cache
def _places() -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """Place and size of numbers of the header: first values, dimensions, types and offsets, then counts and lengths."""
    samples.gguf_file()
    reader = gguf.GGUFReader(samples.home() / "model.gguf")
    values, lengths = [], [(8, 8), (16, 8), (4, 4)]
    tensors = [tensor.field for tensor in reader.tensors]
    for field in (*reader.fields.values(), *tensors):
        place, scalar = field.offset, len(field.types) == 1 and field.types[0] not in (_STRING, _ARRAY)
        for index, part in enumerate(field.parts[:12]):
            inner = index in field.data and (scalar or field in tensors)
            if part.nbytes in (1, 2, 4, 8):
                (values if inner else lengths).append((place, part.nbytes))
            elif inner and part.dtype.itemsize == 8:  # dimensions
                values += [(place + 8 * i, 8) for i in range(len(part))]
            place += part.nbytes
    return tuple(values), tuple(lengths)


@st.composite
def gguf_files(draw: st.DrawFn) -> samples.Files:
    """A GGUF file with wrong numbers in its header, further entries, or changed bytes."""
    content = samples.gguf_file()
    kind = draw(st.integers(0, 9))
    for _ in range(draw(st.integers(1, 3)) if kind < 7 else 0):
        place, size = draw(st.sampled_from(_places()[kind > 4]))
        near = int.from_bytes(content[place : place + size], "little") + draw(st.sampled_from((-1, 1, 16)))
        value = draw(st.one_of(integers(), st.just(near))) % 2 ** (8 * size)
        content = content[:place] + value.to_bytes(size, "little") + content[place + size :]
    if kind in (0, 7, 8):
        content = _with_entry(content, draw(st.sampled_from(_KEYS)), *draw(_values()))
    if kind == 9:
        content = draw(changed_bytes(content, head=4000))
    return {"x.gguf": content}


_KEYS = (
    "general.alignment", "general.architecture", "general.type", "llama.block_count", "llama.rope.scaling.type",
    "llama.attention.head_count", "llama.expert_count", "tokenizer.ggml.model", "tokenizer.ggml.tokens",
    "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id", "tokenizer.chat_template", "x", "", "llama.", "é" * 20,
)  # fmt: skip


@st.composite
def _values(draw: st.DrawFn) -> tuple[int, bytes]:
    """Type and bytes of a value: of any type, arrays in arrays among them, with lengths that may be wrong."""
    kind = draw(st.sampled_from((0, 4, 5, 6, 7, _STRING, _STRING, _ARRAY, _ARRAY, _ARRAY, 10, 12, 99)))
    if kind == _STRING:
        text = draw(st.sampled_from((b"", b"llama", b"gpt2", b"\xff\xfe", b"a\0b", b"x" * 70)))
        return kind, struct.pack("<Q", draw(st.one_of(st.just(len(text)), integers()))) + text
    if kind == _ARRAY:
        depth = draw(st.sampled_from((0, 0, 1, 2, 50, 1200)))
        inner = draw(st.sampled_from((0, 4, 6, 7, _STRING, _ARRAY, 10, 99)))
        count = draw(st.one_of(st.integers(0, 8), integers()))
        size = {0: 1, 4: 4, 6: 4, 7: 1, _STRING: 8, 10: 8}.get(inner, 12)
        head = struct.pack("<IQ", _ARRAY, 1) * depth + struct.pack("<IQ", inner, count)
        return kind, head + bytes(size * min(count, 8))
    return kind, draw(integers()).to_bytes(8, "little")[: {0: 1, 4: 4, 5: 4, 6: 4, 7: 1}.get(kind, 8)]


def _with_entry(content: bytes, key: str, kind: int, value: bytes) -> bytes:
    """The file with one more entry before the others, and another behind it that keeps its alignment."""
    entries = _entry(key, kind, value)
    filler = -(len(entries) + len(_entry("f", 8, bytes(8)))) % 32
    entries += _entry("f" * (filler + 1), 8, bytes(8))
    (count,) = struct.unpack_from("<Q", content, _KV_COUNT) if len(content) >= _ENTRIES else (0,)
    head = content[:_KV_COUNT] + struct.pack("<Q", (count + 2) % 2**64)
    return head + entries + content[_ENTRIES:]


def _entry(key: str, kind: int, value: bytes) -> bytes:
    name = key.encode()
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    (size,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: bytes, data: bytes, size: int | None = None) -> bytes:
    """A safetensors file of this header, whose length is stated as it is unless ``size`` says otherwise."""
    return struct.pack("<Q", (len(header) if size is None else size) % 2**64) + header + data


@st.composite
def tensor_files(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file with a changed header: entries, dtypes, shapes, offsets, its length, or changed bytes."""
    header, data = split(content)
    kind = draw(st.integers(0, 9))
    if kind < 5:
        header = _reshaped(draw, header)
        raw = json.dumps(header).encode()
    elif kind < 8:
        raw = draw(changed_json(header))
    else:
        raw = json.dumps(header).encode()
    if draw(st.integers(0, 4)) == 0:
        data = data + bytes(64) if draw(st.booleans()) else data[: len(data) // 2]
    size = draw(integers()) if draw(st.integers(0, 6)) == 0 else None
    found = joined(raw, data, size)
    return draw(changed_bytes(found)) if kind == 9 else found


@st.composite
def retyped(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file that is sound, in which some tensors are of another dtype, shape or content."""
    header, _ = split(content)
    tensors = load(content)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(tensors)))
        tensor = tensors[name]
        match draw(st.sampled_from(("dtype", "dtype", "shape", "shape", "shape", "values", "values", "name", "drop"))):
            case "dtype":
                tensors[name] = tensor.double().to(draw(st.sampled_from(_TORCH)))
            case "shape":
                tensors[name] = _other_shape(draw, tensor)
            case "values":
                tensors[name] = torch.full_like(tensor.double(), draw(st.sampled_from(_FILL))).to(tensor.dtype)
            case "name":
                field = draw(st.sampled_from(_FIELDS))
                tensors[f"{name.rpartition('.')[0]}.{field}"] = tensor.clone()
            case _ if len(tensors) > 1:
                del tensors[name]
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, header.get("__metadata__"))


_TORCH = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu,
    torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip
_FILL = (0, -1, 1, 2, 15, 127, 255, 2**31 - 1, -(2**31), float("nan"), float("inf"), 1e-45, 1e38)
_FIELDS = (
    "qweight", "qzeros", "scales", "g_idx", "weight", "weight_packed", "weight_shape", "weight_scale", "weight_g_idx",
    "weight_zero_point", "weight_global_scale", "weight_scale_2", "weight_scale_inv", "bias", "blocks", "",
)  # fmt: skip


def _other_shape(draw: st.DrawFn, tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.reshape(-1)
    shapes = (
        lambda: flat, lambda: flat[:1].reshape(()), lambda: flat[:0], lambda: tensor[None], lambda: tensor[..., None],
        lambda: tensor[:0], lambda: tensor[..., :0], lambda: tensor[:1], lambda: tensor[..., :1], lambda: tensor[:-1],
        lambda: tensor.T if tensor.ndim == 2 else flat, lambda: torch.cat([tensor, tensor]) if tensor.ndim else flat,
        lambda: torch.cat([tensor, tensor], -1) if tensor.ndim else flat, lambda: flat[None, None, None],
    )  # fmt: skip
    return draw(st.sampled_from(shapes))().clone() if tensor.ndim and tensor.numel() else flat.clone()


def _reshaped(draw: st.DrawFn, header: dict[str, Any]) -> dict[str, Any]:
    """The header with another shape, dtype or place of some tensors, so that the sizes may still fit."""
    names = [name for name in header if name != "__metadata__"]
    for _ in range(draw(st.integers(1, 2))):
        entry = header[name] if (name := draw(st.sampled_from(names))) in header else {}
        if not _is_whole(entry):
            continue
        begin, end = entry["data_offsets"]
        match draw(st.sampled_from(("dtype", "flat", "split", "scalar", "empty", "same", "odd", "rename", "drop"))):
            case "dtype":
                entry["dtype"] = draw(st.sampled_from(_DTYPES))
            case "flat":  # as many bytes, in another type
                entry |= draw(
                    st.sampled_from(
                        [
                            {"dtype": "U8", "shape": [end - begin]},
                            {"dtype": "BOOL", "shape": [end - begin]},
                            {"dtype": "F8_E5M2", "shape": [end - begin]},
                            {"dtype": "F8_E4M3", "shape": [1, end - begin]},
                            {"dtype": "F8_E8M0", "shape": [end - begin, 1]},
                            {"dtype": "F4", "shape": [2 * (end - begin)]},
                            {"dtype": "F16", "shape": [(end - begin) // 2]},
                            {"dtype": "F64", "shape": [(end - begin) // 8, 1]},
                            {"dtype": "C64", "shape": [(end - begin) // 8]},
                            {"dtype": "U16", "shape": [(end - begin) // 2]},
                        ]
                    )
                )
            case "split":
                shape = entry["shape"]
                entry["shape"] = draw(st.sampled_from((shape[::-1], [1, *shape], [*shape, 1], [*shape, 1, 1])))
            case "scalar":
                entry |= {"dtype": "U8", "shape": [], "data_offsets": [begin, begin + 1]}
            case "empty":
                entry |= {"shape": [0, *entry["shape"][1:]], "data_offsets": [begin, begin]}
            case "same":
                other = header.get(draw(st.sampled_from(names)), entry)
                entry["data_offsets"] = other["data_offsets"] if _is_whole(other) else [0, 0]
            case "odd":
                header[name] = changed_value(draw, entry, 1)
            case "rename":
                others = (f"{name}.x", "model." + name, name.replace("0", "7"), "\n", "x" * 99)
                header[draw(st.sampled_from(others))] = header.pop(name)
            case "drop":
                del header[name]
        header = _packed(header) if draw(st.booleans()) else header
    return header


def _packed(header: dict[str, Any]) -> dict[str, Any]:
    """Close the gaps between the tensors, so that the header is whole, if it can be."""
    place, found = 0, {}
    for name, entry in header.items():
        found[name] = entry
        if _is_whole(entry):
            begin, end = entry["data_offsets"]
            found[name] = {**entry, "data_offsets": [place, place + end - begin]}
            place += end - begin
    return found


def _is_whole(entry: Any) -> bool:
    """Return whether an entry has a dtype, a shape, and two whole numbers as its place."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        return False
    places = entry["data_offsets"]
    return isinstance(entry["shape"], list) and isinstance(places, list) and [type(p) for p in places] == [int, int]
