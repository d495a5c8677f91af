"""Read an exported file as a stranger would: with h5py and numpy alone, by what the file says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import json, sys
import h5py
import numpy as np

found = {"attributes": {}, "values": {}, "types": [], "problems": []}

def described(attributes):
    return {key: value if isinstance(value, str) else value.tolist() for key, value in attributes.items()}

def look(name, item):
    found["attributes"][name] = described(item.attrs)
    if isinstance(item, h5py.Group):
        return
    found["types"].append(item.dtype.str)
    plain = item.dtype.kind in "fiS" and item.chunks is None and item.compression is None
    if not plain or item.maxshape != item.shape or item.dtype.hasobject or item.size == 0:
        found["problems"].append(name)
    values = item.asstr()[:] if item.dtype.kind == "S" else item[:]
    found["values"][name] = values.tolist()

with h5py.File(sys.argv[1], "r") as file:
    found["attributes"]["/"] = described(file.attrs)
    file.visititems(look)
assert not {"landscape", "quant", "torch"} & set(sys.modules)
print(json.dumps(found))
"""


def opened(path: Path) -> dict[str, Any]:
    """Attributes and values by path, types, and datasets that are not plain; read in another process, elsewhere."""
    words = [sys.executable, "-I", "-c", SCRIPT, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
