"""Count bits against the tensors of exported folders, packed as other tools pack them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from quant.center import Center
from quant.checkpoints.checkpoint import load_checkpoint
from quant.checkpoints.export import export_point
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.size import model_size
from tests import tiny
from tests.quant.peer_floats import PeerMatrix

Save = Callable[..., Path]
BITS = (2, 3, 4, 8)
GRIDS = [
    ("exact", "tensor", True), ("absmax", "channel", True), ("absmax", "group:5", True), ("absmax", "group:32", True),
    ("absmax", "tensor", False), ("absmax", "channel", False), ("absmax", "group:5", False),
]  # fmt: skip
"""Groups of 5 leave a ragged one of 16 and of 24 inputs; of 32, the matrices have fewer inputs than a group."""


def packed_bits(values: np.ndarray, bits: int) -> int:
    """Pack whole numbers to so many bits, check that they come back, and count the bits."""
    low = int(values.min())
    assert int(values.max()) - low < 2**bits
    planes = ((values.reshape(-1, 1).astype(np.int64) - low) >> np.arange(bits)) & 1
    packed = np.packbits(planes.astype(np.uint8))
    back = np.unpackbits(packed)[: planes.size].reshape(planes.shape)
    assert ((back.astype(np.int64) << np.arange(bits)).sum(1) + low == values.reshape(-1)).all()
    assert len(packed) == -(-planes.size // 8)
    return planes.size


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("scale", "granularity", "symmetric"), GRIDS)
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_bits_are_those_of_an_exported_folder(
    saved: Save, tmp_path: Path, architecture: str, scale: str, granularity: str, symmetric: bool, bits: int
) -> None:
    checkpoint = load_checkpoint(str(saved(tiny.ARCHITECTURES[architecture]())))
    scheme = QuantScheme(bits, scale, granularity, symmetric)  # type: ignore[arg-type]
    point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), scheme)
    export_point(checkpoint, point, tmp_path / "out")
    codes = load_file(tmp_path / "out" / "codes" / "quantization.safetensors")
    inside = 0
    for name, tensor in codes.items():
        kind = name.rsplit(".", 1)[1]
        inside += 8 * tensor.astype(np.float16).nbytes if kind == "scale" else packed_bits(tensor, bits)
    weights = load_file(tmp_path / "out" / "model.safetensors")  # tied weights once
    quantized = {name.removesuffix(".codes") for name in codes if name.endswith(".codes")}
    assert quantized <= weights.keys()
    outside = sum(8 * weights[name].astype(np.float16).nbytes for name in weights.keys() - quantized)
    dimension = sum(weights[name].size for name in quantized)
    size = model_size(checkpoint.model, checkpoint.space, scheme)
    assert size.space_bits == inside / dimension
    assert size.model_bits == (inside + outside) / sum(tensor.size for tensor in weights.values())
    assert size.bytes == math.ceil((inside + outside) / 8)
    assert size.gigabytes == size.bytes / 1e9


@pytest.mark.parametrize("name", ["nvfp4", "mxfp4"])
def test_bits_of_a_float_format_are_those_of_compressed_tensors_files(name: str) -> None:
    checkpoint = load_checkpoint("opt-nano")
    bits = 0
    for _, weight in checkpoint.space.weights(checkpoint.model):
        bits += sum(8 * tensor.nbytes for tensor in PeerMatrix.of(name, weight.detach()).written.values())
    size = model_size(checkpoint.model, checkpoint.space, QuantScheme.of_format(name))
    assert size.space_bits == bits / checkpoint.space.dimension


def test_bits_of_fp8_are_a_byte_and_a_scale_of_16_bits_for_each_output() -> None:
    checkpoint = load_checkpoint("opt-nano")
    outputs = sum(slot.shape[0] for slot in checkpoint.space)
    size = model_size(checkpoint.model, checkpoint.space, QuantScheme.of_format("fp8"))
    assert size.space_bits == 8 + 16 * outputs / checkpoint.space.dimension


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_w_takes_the_bytes_of_a_checkpoint_in_half_precision(saved: Save, architecture: str) -> None:
    folder = saved(tiny.ARCHITECTURES[architecture]().half())
    checkpoint = load_checkpoint(str(folder))
    size = model_size(checkpoint.model, checkpoint.space, None)
    (file,) = folder.glob("*.safetensors")
    content = file.read_bytes()
    header = int.from_bytes(content[:8], "little")
    named = json.loads(content[8 : 8 + header])
    assert sum(math.prod(tensor["shape"]) for name, tensor in named.items() if name != "__metadata__") * 2 == size.bytes
    assert (size.space_bits, size.model_bits) == (16, 16)
