from __future__ import annotations

import pytest

from quant.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold] text", "plain [bold] text"),
        ("‖Δw‖ = 0.5 ± 0.1 größer 模型", "‖Δw‖ = 0.5 ± 0.1 größer 模型"),
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("over\rwritten\x08\x7f", "over\\rwritten\\x08\\x7f"),
        ("\x9b31m C1", "\\x9b31m C1"),
        ("right \u202e to left \u2066", "right \\u202e to left \\u2066"),
        ("\udc9b of a file name", "\\udc9b of a file name"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
