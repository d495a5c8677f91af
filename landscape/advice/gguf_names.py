"""Name the tensors of a GGUF file, by the map of the ``gguf`` package that llama.cpp's converter uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from gguf import MODEL_ARCH, MODEL_TENSOR

LLAMAS = ("mistral", "mixtral")
"""Architectures that the converter writes as llama: ``LlamaModel`` in llama.cpp's convert_hf_to_gguf.py."""
_BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")
_EXPERT = re.compile(r"(?<=\.experts)\.\d+(?=\.)")


def gguf_names(architecture: str, modules: Iterable[str]) -> dict[str, str] | None:
    """Return the names of tensors in a GGUF file, ``blk.3.ffn_down.weight``, by the modules that they come from.

    All experts of a layer are one tensor there.

    Args:
        architecture: ``model_type`` of the model's configuration, such as llama.
        modules: Names of modules, ``model.layers.3.mlp.down_proj``.

    Returns:
        None if the map does not know the architecture, or one of the modules.
    """
    found = _architecture(architecture)
    if found is None:
        return None
    known, names = _first_block(found), {}
    for module in modules:
        place = _BLOCK.search(module)
        name = known.get(_EXPERT.sub("", _BLOCK.sub("0", module, count=1)))
        if place is None or name is None:
            return None
        names[module] = f"{name.replace('.0.', f'.{place[0]}.', 1)}.weight"
    return names


def _architecture(name: str) -> MODEL_ARCH | None:
    """Find llama.cpp's architecture by transformers' name for it: qwen2_moe is qwen2moe there."""
    from gguf import MODEL_ARCH_NAMES

    plain = _plain("llama" if name in LLAMAS else name.removesuffix("_text"))
    return next((arch for arch, own in MODEL_ARCH_NAMES.items() if _plain(own) == plain), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first_block(architecture: MODEL_ARCH) -> dict[str, str]:
    """Return the map of the first block; those of the others differ in the number alone."""
    from gguf import TensorNameMap

    class Own(TensorNameMap):  # type: ignore[misc]
        """A map that leaves gguf's own as it is: gguf writes one architecture's exceptions into that of all."""

        block_mappings_cfg: ClassVar[dict[MODEL_TENSOR, tuple[str, ...]]] = dict(TensorNameMap.block_mappings_cfg)

    return {key: name for key, (_, name) in Own(architecture, 1).mapping.items()}
