"""Check that a point is made as a survey makes it, and that the exported folder holds it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from landscape.cli import main
from landscape.quantize import QuantizeRequest, quantize
from landscape.session.forecast import Forecast
from landscape.session.presets import PRESETS
from landscape.session.progress import Silent
from landscape.session.subject import prepare
from quant import GPTQOptions, QuantScheme, export_point, gptq, load_checkpoint, load_external, rtn
from quant.center import Center
from quant.errors import UsageError
from quant.grid import GridTensor
from tests import tiny

SMALL = ["--seq-len", "32", "--calibration-windows", "2", "--qaft-examples", "3", "--qaft-rates", "1e-4"]


class Heard(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.forecasts: list[Forecast] = []
        self.done = 0.0

    def forecast(self, forecast: Forecast) -> None:
        self.forecasts.append(forecast)

    def advance(self, work: float) -> None:
        self.done += work


def run(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["landscape", "quantize", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr()
    return int(end.value.code or 0), out.out, out.err


def test_a_point_is_made_once_and_is_the_one_that_a_survey_uses(tmp_path: Path) -> None:
    request = QuantizeRequest(bits=3, method="gptq", store=tmp_path)
    first, second = Heard(), Heard()
    result, again = quantize(request, first), quantize(request, second).point
    checkpoint, point = result.checkpoint, result.point
    (forecast,) = first.forecasts
    assert forecast.points == ("gptq-int3-exact",)
    assert first.done == pytest.approx(forecast.work)
    assert second.forecasts == []
    assert again.fingerprint(checkpoint.space) == point.fingerprint(checkpoint.space)
    subject = prepare(checkpoint, "tales", PRESETS["quick"], ("rtn", "gptq", "qaft"), 0, tmp_path)
    start = rtn(checkpoint.space, subject.center, QuantScheme(3))
    by_hand = gptq(checkpoint.model, checkpoint.space, start, subject.calibration.windows, GPTQOptions())
    assert by_hand.fingerprint(checkpoint.space) == point.fingerprint(checkpoint.space)


@pytest.mark.parametrize("method", ["rtn", "gptq", "qaft"])
def test_the_folder_holds_the_point(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code, text, err = run(
        capsys, monkeypatch, "--bits", 2, "--method", method, "--granularity", "channel", "--export", out,
        "--store", tmp_path / "store", *SMALL,
    )  # fmt: skip
    assert code == 0, err
    assert f"{method}-int2-exact-per-channel of opt-nano: ‖Δw‖ = " in text
    assert f"to do: make {method}-int2-exact-per-channel\nabout " in err
    checkpoint = load_checkpoint("opt-nano")
    model = AutoModelForCausalLM.from_pretrained(out, dtype="float32")
    back = load_external(out, checkpoint, "back")
    for slot, weight in checkpoint.space.weights(model):
        assert torch.equal(weight, back.tensor(slot))
        steps = [row.unique().numel() for row in weight]
        assert max(steps) <= 3
    record = json.loads((out / "codes" / "quantization.json").read_text())
    assert (record["method"], record["scheme"]["bits"]) == (method, 2)


def test_rtn_needs_no_text(tmp_path: Path) -> None:
    scheme = QuantScheme(4, "absmax", "group:64", symmetric=False)
    request = QuantizeRequest(
        bits=4, method="rtn", scale="absmax", granularity="group:64", symmetric=False,
        data=str(tmp_path / "none"), store=tmp_path,
    )  # fmt: skip
    result = quantize(request)
    checkpoint, point = result.checkpoint, result.point
    expected = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), scheme)
    assert point.fingerprint(checkpoint.space) == expected.fingerprint(checkpoint.space)
    assert all(isinstance(part, GridTensor) and part.grid.zero is not None for part in point.parts.values())


def test_groups_that_do_not_fit_are_refused_before_any_work(saved, tmp_path: Path) -> None:
    request = QuantizeRequest(str(saved(tiny.gpt2())), bits="mxfp4", method="rtn", store=tmp_path / "store")
    heard = Heard()
    with pytest.raises(UsageError, match=r"for mxfp4, got 16 inputs in transformer\.h\.0\.attn\.c_attn\.weight"):
        quantize(request, heard)
    assert (heard.forecasts, heard.done) == ([], 0)


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_a_float_format_is_exported_and_read_back(method: str, tmp_path: Path) -> None:
    request = QuantizeRequest(
        bits="mxfp4", method=method, store=tmp_path / "store", export=tmp_path / "out",
        preset=replace(PRESETS["quick"], seq_len=32, calibration_windows=2),
    )  # fmt: skip
    result = quantize(request)
    assert result.point.name == f"{method}-mxfp4"
    back = load_external(tmp_path / "out", result.checkpoint, "back")
    for slot in result.checkpoint.space:
        weight = back.tensor(slot)
        assert torch.equal(weight, result.point.tensor(slot))
        assert max(len(group.abs().unique()) for group in weight.reshape(-1, 32)) <= 8


def test_a_full_folder_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    for export, problem in (
        (tmp_path, f"got '{tmp_path}', which holds something"),
        (mine, f"got '{mine}', which is a file"),
        (mine / "q", f"got '{mine}/q', where '{mine}' is a file"),
    ):
        code, _, err = run(capsys, monkeypatch, "--model", "no/such/model", "--export", export)
        assert code == 2
        expected = f"landscape: error: expected a new or an empty folder as --export, {problem}; choose another"
        assert err.splitlines() == ["loading the libraries", expected]  # nothing else was begun


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "rtm"], "qaft-lsq, qaft-from-gptq on a grid, got 'rtm'"),
        (["--bits", "9"], "expected bits from 2 to 8, or a float format from nvfp4, mxfp4, fp8, got '9' in --bits"),
        (["--no-symmetric"], "expected the scale absmax (--scale) for an asymmetric grid"),
        (["--granularity", "row"], "expected granularity tensor, channel or group:N, got 'row'"),
    ],
)
def test_bad_requests_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, *words, "--export", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_point_that_was_stored_is_exported_from_disk(tmp_path: Path) -> None:
    few = replace(PRESETS["quick"], calibration_windows=4)
    request = QuantizeRequest(bits=3, method="gptq", granularity="group:32", preset=few, store=tmp_path / "store")
    quantize(request)
    result = quantize(request)
    checkpoint, stored = result.checkpoint, result.point
    export_point(checkpoint, stored, tmp_path / "out")
    back = load_external(tmp_path / "out", checkpoint, "back")
    assert back.fingerprint(checkpoint.space) == stored.fingerprint(checkpoint.space)
