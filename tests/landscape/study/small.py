"""The smallest study that still does everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from landscape.session.presets import PRESETS
from landscape.study.request import StudyRequest

TINY = replace(
    PRESETS["quick"], train_windows=2, validation_windows=2, test_windows=2, seq_len=32, lambdas=4, alphas=3,
    refinements=1, calibration_windows=2, qaft_examples=3, rates=dict.fromkeys(range(2, 9), (1e-4,)),
)  # fmt: skip


def small_study(store: Path, **changes: object) -> StudyRequest:
    """A study of opt-nano by RTN and GPTQ at 2 bits."""
    asked = {"bits": (2,), "methods": ("rtn", "gptq"), "directions": 2, "preset": TINY, "store": store}
    return StudyRequest(**{**asked, **changes})
