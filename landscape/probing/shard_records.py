"""Read the attributes of shards: texts, the records that came with rows, and the recipe of a point. No torch."""

from __future__ import annotations

from typing import Any

from landscape.probing.shard_file import Shard
from quant.errors import StoreError
from quant.files.json_text import parse_json

_AWAY = "move the file away, and run the command again"


def text_of(shard: Shard, name: str) -> str:
    """Return an attribute that is text.

    Raises:
        StoreError: There is none.
    """
    found = shard.attributes.get(name)
    if not isinstance(found, str):
        raise StoreError(f"expected the text {name} in {shard.path}, found {type(found).__name__}; {_AWAY}")
    return found


def records_of(shard: Shard) -> list[dict[str, Any]]:
    """Return the records that came with the rows of a shard: its attribute ``provenances``.

    Raises:
        StoreError: It is no list of JSON objects.
    """
    found = _json(shard, "provenances")
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise StoreError(f"expected a list of records as provenances in {shard.path}, found another; {_AWAY}")
    return found


def recipe_of(shard: Shard) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the fields of a point's scheme, None if it has none, and its provenance.

    Raises:
        StoreError: They are not there, or of another kind.
    """
    scheme, provenance = _json(shard, "scheme"), _json(shard, "provenance")
    if not isinstance(scheme, dict | None) or not isinstance(provenance, dict):
        raise StoreError(f"expected objects as scheme and provenance in {shard.path}, found others; {_AWAY}")
    return scheme, provenance


def _json(shard: Shard, name: str) -> Any:
    return parse_json(text_of(shard, name), shard.path, StoreError, _AWAY, nonfinite=True, repeated=True)
