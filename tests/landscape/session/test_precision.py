"""Check that losses in TF32 and in float32 never meet: in the store's name, in the settings, in the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape.curvature.request import CurvatureRequest
from landscape.positions.position import CENTER
from landscape.probing.plan import point_plan
from landscape.radius import RadiusRequest
from landscape.session.session import Session
from quant.errors import UsageError


def test_a_run_in_tf32_has_a_store_and_a_record_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quant.checkpoints.checkpoint.check_precision", lambda *_: None)  # as if this were a card
    folders = set()
    for precision, tf32 in (("highest", False), ("high", True)):
        request = RadiusRequest(seq_len=32, store=tmp_path, matmul_precision=precision)
        with Session.open(request) as session:
            assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
            session.evaluate(point_plan([CENTER], session.windows[:1]))
            assert session.runner.evaluated == 1  # the other's loss is not taken for its own
            (record,) = session.store.provenances()
            assert record.get("matmul precision") == ("high" if tf32 else None)
            assert session.info(["validation"]).dtype == ("float32-high" if tf32 else "float32")
            folders.add(session.store.folder.name.partition("-")[2])
        assert torch.get_float32_matmul_precision() == "highest"
    assert folders == {"float32", "float32-high"}


def test_second_derivatives_are_refused_in_tf32() -> None:
    with pytest.raises(UsageError, match="expected --matmul-precision highest for second derivatives, got high"):
        CurvatureRequest(matmul_precision="high")
