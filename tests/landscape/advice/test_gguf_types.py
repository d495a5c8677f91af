"""The table of llama.cpp's types, against the package ``gguf``."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from landscape.advice.gguf_types import GGUF_TYPES, GGUFType, gguf_named, gguf_of_grid

CODE = 8  # weights that one bit of a code book's index changes, at most


@pytest.mark.parametrize("kind", GGUF_TYPES, ids=lambda kind: kind.name)
def test_blocks_are_those_of_gguf(kind: GGUFType) -> None:
    assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.name]] == (kind.block, kind.bytes)


@pytest.mark.parametrize("kind", GGUF_TYPES, ids=lambda kind: kind.name)
def test_the_smallest_set_of_weights_that_a_bit_of_a_scale_moves_is_the_group(kind: GGUFType) -> None:
    moved = np.zeros((8 * kind.bytes, kind.block), dtype=bool)
    bits = np.arange(8 * kind.bytes)
    random = np.random.default_rng(0)
    for _ in range(12):  # a code of 0 hides a change of its scale
        block = random.integers(0, 256, kind.bytes, dtype=np.uint8)
        flipped = np.tile(block, (len(bits), 1))
        flipped[bits, bits // 8] ^= (1 << bits % 8).astype(np.uint8)
        with np.errstate(all="ignore"):  # some random scales are infinite
            values = dequantize(np.vstack([block, flipped]), gguf.GGMLQuantizationType[kind.name])
        if np.isfinite(values[0]).all():
            moved |= values[1:] != values[0]
    counts = moved.sum(1)
    assert counts[counts > CODE].min() == kind.group


@pytest.mark.parametrize("kind", GGUF_TYPES, ids=lambda kind: kind.name)
def test_an_argument_is_a_type_of_file(kind: GGUFType) -> None:
    known = {each.name.removeprefix("MOSTLY_") for each in gguf.LlamaFileType}
    assert kind.name in known or f"{kind.name}_M" in known or kind.name == "MXFP4"  # Q4_K stands for Q4_K_M


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_grid_finds_codes_of_as_many_bits(bits: int, symmetric: bool) -> None:
    kind = gguf_of_grid(bits, symmetric)
    assert max(bits, 8 * (bits == 7)) < kind.bits_per_weight < max(bits, 8 * (bits == 7)) + 1
    assert gguf_named(kind.name) == kind


@pytest.mark.parametrize("bits", [4, 5])
def test_a_symmetric_grid_finds_a_type_without_a_minimum(bits: int) -> None:
    """All weights of one group are multiples of a number, which they are not where a minimum is added."""
    for symmetric in (True, False):
        kind = gguf_of_grid(bits, symmetric)
        block = np.random.default_rng(1).integers(0, 256, (1, kind.bytes), dtype=np.uint8)
        block[0, :4] = np.frombuffer(
            np.array([0.37, 0.11], np.float16).tobytes(), np.uint8
        )  # scale, and minimum or codes
        group = dequantize(block, gguf.GGMLQuantizationType[kind.name])[0, : kind.group].astype(np.float64)
        step = np.diff(np.unique(group)).min()
        assert np.allclose(group / step, np.round(group / step), atol=1e-3) == symmetric
