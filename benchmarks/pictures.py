"""Make pictures that are committed small."""

from __future__ import annotations

import io

_COLOURS = 256


def few_colours(png: bytes) -> bytes:
    """Return a PNG of 256 colours, half as large. An octree keeps those of thin lines, which a median cut merges."""
    from PIL import Image

    few = (
        Image.open(io.BytesIO(png))
        .convert("RGB")
        .quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    )
    stream = io.BytesIO()
    few.save(stream, format="png", optimize=True)
    return stream.getvalue()
