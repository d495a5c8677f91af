"""How numbers are set."""

from __future__ import annotations


def with_minus(text: str) -> str:
    """The text with the sign of subtraction in place of every hyphen."""
    return text.replace("-", "−")
