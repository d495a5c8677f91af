"""Name the ways to quantize, without numpy: recipes and help texts use them."""

from __future__ import annotations

from typing import Literal, get_args

Way = Literal["rtn", "gptq", "qaft"]
WAYS: tuple[Way, ...] = get_args(Way)
"""The ways to quantize, the cheap ones first."""
NAMES: dict[Way, str] = {"rtn": "RTN", "gptq": "GPTQ", "qaft": "QAFT"}
