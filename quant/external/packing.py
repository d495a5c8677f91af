"""Unpack integers from 32-bit words, and decode the weights that they stand for.

Every layout here is a stream of B-bit fields, the lowest bits first, cut into int32 words; 3-bit fields may straddle
two words. They differ in which axis is packed, in the order of the fields, and in how the zero-point is stored. The
layouts are those of AutoGPTQ 0.7 and GPTQModel (``gptq``), AutoAWQ 0.2 (``awq``) and compressed-tensors 0.20
(``pack-quantized``; 0.12 for ``weight_g_idx``, which newer releases no longer read). Weights come as float32, and are
exact for scales of 16 bits: times an integer of up to 9 bits they fit into float32. The libraries themselves round the
product to the scale's dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.errors import PointError

GPTQ_BITS = (2, 3, 4, 5, 6, 7, 8)
WORD = 32
_SCALES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INDICES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)

_AWQ_BITS = 4
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Index, among eight neighbouring outputs, of the one in field i of an AWQ word."""


def unpack(words: Tensor, bits: int, count: int) -> Tensor:
    """Return the unsigned fields of packed rows.

    Args:
        words: (rows, n) int32; ``n = ceil(count · bits / 32)``.
        bits: Width B of a field, 1 to 8.
        count: Number of fields in a row; the bits after them are padding.

    Returns:
        (rows, count) int32, in [0, 2^B).

    Raises:
        PointError: if ``words`` are not int32 or their number does not fit.
    """
    needed = -(-count * bits // WORD)
    if words.dtype != torch.int32 or words.ndim != 2 or words.shape[1] != needed:
        raise PointError(
            f"expected {needed} int32 words a row for {count} fields of {bits} bits, "
            f"got {str(words.dtype).removeprefix('torch.')} of shape {tuple(words.shape)}"
        )
    start = torch.arange(count, device=words.device) * bits
    word, shift = start // WORD, (start % WORD).int()
    low_bits = torch.clamp(WORD - shift, max=bits)
    fields = (words[:, word] >> shift) & ((1 << low_bits) - 1)  # the mask removes copies of the sign bit
    straddling = (low_bits < bits).nonzero().flatten()
    if straddling.numel():
        low = low_bits[straddling]
        fields[:, straddling] |= (words[:, word[straddling] + 1] & ((1 << (bits - low)) - 1)) << low
    return fields


def gptq_weight(
    qweight: Tensor, qzeros: Tensor, scales: Tensor, groups: Tensor, bits: int, *, zeros_less_one: bool
) -> Tensor:
    """Decode the weights of a GPTQ layer: ``(q − z) · s``, groups along the inputs.

    Args:
        qweight: (in · B / 32, out) int32, packed along the inputs.
        qzeros: (groups, out · B / 32) int32, packed along the outputs.
        scales: (groups, out).
        groups: (in,) the group of every input (``g_idx``); in any order after ``desc_act``.
        bits: B.
        zeros_less_one: Whether ``z − 1`` is stored: checkpoint format ``gptq``; in ``gptq_v2`` it is ``z``.

    Raises:
        PointError: if the shapes do not fit, or a stored ``z − 1`` is −1. Its field is all ones, which the libraries
            read in three ways: as 2^B, as 0, or as 0 with a carry into the next zero-point.
    """
    check_scales("scales", scales)
    inputs, outputs = groups.numel(), qweight.shape[-1]
    _whole_words(inputs, bits)
    _whole_words(outputs, bits)
    _expect("scales", scales, (qzeros.shape[0], outputs))
    index = _group_index(groups, scales.shape[0])
    zeros = unpack(qzeros, bits, outputs)
    if zeros_less_one:
        if bool((zeros == 2**bits - 1).any()):
            raise PointError(
                "expected zero-points of at least 1 in checkpoint format gptq, found 0, which readers disagree on; "
                "save it as gptq_v2 with the tool that made it"
            )
        zeros = zeros + 1
    codes = unpack(qweight.T.contiguous(), bits, inputs)
    return (codes - zeros.T[:, index]).float() * scales.float().T[:, index]


def awq_weight(qweight: Tensor, qzeros: Tensor, scales: Tensor, inputs: int) -> Tensor:
    """Decode an AWQ layer, version ``gemm``: ``(q − z) · s`` in 4 bits, eight interleaved outputs a word.

    Args:
        qweight: (in, out / 8) int32.
        qzeros: (groups, out / 8) int32.
        scales: (groups, out).
        inputs: Number of inputs; neighbouring ones form ``groups`` groups of equal size.

    Raises:
        PointError: if the shapes do not fit.
    """
    check_scales("scales", scales)
    outputs = scales.shape[-1]
    _whole_words(outputs, _AWQ_BITS)
    _expect("qweight", qweight, (inputs, outputs * _AWQ_BITS // WORD))
    _expect("qzeros", qzeros, (scales.shape[0], outputs * _AWQ_BITS // WORD))
    index = neighbours(inputs, scales.shape[0])
    place = torch.empty(len(_AWQ_ORDER), dtype=torch.long)
    place[torch.tensor(_AWQ_ORDER)] = torch.arange(len(_AWQ_ORDER))

    def fields(words: Tensor) -> Tensor:
        return unpack(words, _AWQ_BITS, outputs).reshape(len(words), -1, len(_AWQ_ORDER))[:, :, place].flatten(1)

    return ((fields(qweight) - fields(qzeros)[index]).float() * scales.float()[index]).T.contiguous()


def signed_codes(packed: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
    """Unpack the codes of compressed-tensors' ``pack-quantized``: rows along the inputs, stored as ``q + 2^(B−1)``.

    Returns:
        ``shape`` int32.

    Raises:
        PointError: if the number of words does not fit.
    """
    if packed.ndim != 2 or packed.shape[0] != shape[0]:
        raise PointError(f"expected {shape[0]} packed rows, got shape {tuple(packed.shape)}")
    return unpack(packed, bits, shape[1]).sub(2 ** (bits - 1))


def signed_zeros(stored: Tensor, bits: int, shape: tuple[int, int]) -> Tensor:
    """Unpack zero-points of compressed-tensors: packed along the outputs like the codes, or plain integers.

    Args:
        stored: (ceil(out · B / 32), groups) int32, or integers: of ``shape``, (out,) for one group, or a single one.
        bits: B.
        shape: (out, groups).

    Raises:
        PointError: if it is neither.
    """
    if stored.dtype == torch.int32 and stored.shape != shape:
        fields = unpack(stored.T.contiguous(), bits, shape[0])
        return fields.T.sub(2 ** (bits - 1))
    alone = shape == (1, 1) and stored.numel() == 1
    flat = shape[1] == 1 and tuple(stored.shape) == shape[:1]
    if stored.dtype.is_floating_point or not (tuple(stored.shape) == shape or flat or alone):
        raise PointError(f"expected integer zero-points of shape {shape}, got {stored.dtype} {tuple(stored.shape)}")
    return stored.reshape(shape).int()


def scaled(codes: Tensor, scale: Tensor, zeros: Tensor | None, groups: Tensor | None) -> Tensor:
    """Decode a compressed-tensors layer: ``(q − z) · s`` per tensor, channel, or group of inputs.

    Args:
        codes: (out, in) integers.
        scale: One number, or (out, groups); per channel is one group.
        zeros: As ``scale``; None if the grid is symmetric.
        groups: (in,) the group of every input; None, or any −1 in it, if groups are neighbours.

    Raises:
        PointError: if the shapes do not fit.
    """
    check_scales("weight_scale", scale)
    outputs, inputs = codes.shape
    if scale.numel() == 1:
        scale = scale.reshape(1, 1)
    elif scale.ndim != 2 or scale.shape[0] != outputs:
        raise PointError(f"expected one scale, or {outputs} rows of them, got shape {tuple(scale.shape)}")
    if zeros is not None:
        _expect("weight_zero_point, as integers,", zeros, tuple(scale.shape))
    if groups is not None:
        _check_index(groups)
    if groups is None or bool((groups < 0).any()):
        index = neighbours(inputs, scale.shape[1])
    else:
        _expect("weight_g_idx", groups, (inputs,))
        index = _group_index(groups, scale.shape[1])
    shifted = codes.int() if zeros is None else codes.int() - zeros[:, index]
    return shifted.float() * scale.float()[:, index]


def neighbours(inputs: int, groups: int) -> Tensor:
    """Return the group of every input, (in,), if equal groups of neighbouring inputs share a scale.

    Raises:
        PointError: if the inputs do not divide into this number of groups.
    """
    if not groups or inputs % groups:
        raise PointError(f"expected groups of equal size, got {groups} groups for {inputs} inputs")
    return torch.arange(inputs) // (inputs // groups)


def check_scales(what: str, scales: Tensor) -> None:
    """Check that scales of integers are floats of 16 bits or more: integers and bools would be read as if they were.

    Raises:
        PointError: if they are not.
    """
    if scales.dtype not in _SCALES:
        got = str(scales.dtype).removeprefix("torch.")
        raise PointError(f"expected floats of 16 bits or more as {what}, got {got}")


def _check_index(groups: Tensor) -> None:
    if groups.dtype not in _INDICES:
        raise PointError(f"expected integers as g_idx, got {str(groups.dtype).removeprefix('torch.')}")


def _whole_words(count: int, bits: int) -> None:
    if count * bits % WORD:
        raise PointError(f"expected whole 32-bit words, got {count} fields of {bits} bits")


def _expect(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise PointError(f"expected {what} of shape {shape}, got {tuple(tensor.shape)}")


def _group_index(groups: Tensor, count: int) -> Tensor:
    _check_index(groups)
    index = groups.long()
    if bool((index < 0).any()) or bool((index >= count).any()):
        raise PointError(f"expected groups 0 to {count - 1} in g_idx, got {int(index.min())} to {int(index.max())}")
    return index
