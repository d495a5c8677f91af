"""Find the files of a folder that hold a model's weights: safetensors beside the configuration, nothing else.

The check comes before transformers sees the folder: its loader follows names in an index or in the configuration, and
unpickles every file that does not end in ``.safetensors``. Reading such a file can run code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from quant.errors import ToolkitError
from quant.files.json_text import read_object
from quant.printable import printable

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_RESAVE = "if you trust its origin, load it with transformers and write it again with `save_pretrained`"


def weight_files(folder: Path, error: type[ToolkitError], others: bool = False) -> list[str]:
    """Return the names of the files with the weights of a folder, as transformers chooses them.

    Links are followed, since the Hub's own cache consists of them; their targets are read as safetensors too.

    Args:
        folder: A folder with a model.
        error: The class of the error to raise, the caller's.
        others: Whether ``*.safetensors`` under other names count too, as other tools write them.

    Returns:
        ``model.safetensors``, else the shards of its index, else with ``others`` every safetensors; sorted.

    Raises:
        ToolkitError: of that class, if there are none, or a file of the index is missing, elsewhere or no safetensors.
    """
    names = {path.name for path in folder.iterdir()}
    if any(_DISTRIBUTED.fullmatch(name) for name in names):
        raise error(f"expected {WHOLE} in {folder}, found the shards of a distributed checkpoint; {_RESAVE}")
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if (folder / INDEX).is_file():
        return _shards(folder, error)
    found = sorted(name for name in names if name.endswith(".safetensors"))
    if others and found:
        return found
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    what = f"only {', '.join(pickles)}, which could run code when read" if pickles else "no weights"
    raise error(f"expected {'*.safetensors' if others else WHOLE} in {folder}, found {printable(what)}; {_RESAVE}")


def _shards(folder: Path, error: type[ToolkitError]) -> list[str]:
    """Return the files that an index names."""
    path = folder / INDEX
    shards = read_object(path, error, _RESAVE).get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    if not names or any(Path(name).name != name or "\\" in name for name in names):
        raise error(f"expected a weight_map of files beside it in {path}, got {printable(str(names))[:80]}; {_RESAVE}")
    held = {path.name for path in folder.iterdir()}  # a name may be one that no file can have
    for name in names:
        shown = printable(name[:120])
        if not name.endswith(".safetensors"):
            raise error(f"expected *.safetensors in {path}, got {shown}, which could run code; {_RESAVE}")
        if name not in held or not (folder / name).is_file():
            raise error(f"expected safetensors in {folder / shown}, which {INDEX} names, found no such file")
    return names


def check_companions(folder: Path, names: Iterable[str], error: type[ToolkitError]) -> None:
    """Check that no file beside a model's weights would be loaded on top of them.

    Args:
        folder: The model's folder; for the message.
        names: The names of its files.
        error: The class of the error to raise.

    Raises:
        ToolkitError: of that class, if there is an adapter, which some installations load and others do not.
    """
    if ADAPTER in names:
        raise error(
            f"expected a whole model in {folder}, found {ADAPTER}, an adapter that changes its function; "
            "merge it into the weights (peft's `merge_and_unload`), or move it elsewhere"
        )
