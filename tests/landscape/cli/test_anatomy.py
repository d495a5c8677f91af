"""``landscape anatomy`` as a person runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from landscape.anatomy.request import AnatomyRequest
from landscape.anatomy.result import AnatomyResult
from landscape.report.anatomy.json import anatomy_json
from landscape.report.anatomy.wording import finding
from tests.landscape.cli.asking import Run
from tests.landscape.trap import LIMIT


def test_the_command_prints_the_finding_first_and_the_json_of_the_job(
    dissection: AnatomyRequest,
    dissected: AnatomyResult,
    tmp_path: Path,
    run: Run,
) -> None:
    words = [
        "--model", dissection.model, "--data", "tales", "--bits", 4, "--windows", 4, "--test-windows", 2, "--seq-len",
        32, "--directions", 2, "--groups", "block", "--no-layer-radii", "--limit", LIMIT.text,
        "--store", dissection.store, "--output", tmp_path / "report",
    ]  # fmt: skip
    code, text, err = run("anatomy", *words)
    assert code == 0, err
    assert "nothing to evaluate" in err
    assert text.startswith(finding(dissected)[0])
    for sentence in finding(dissected):
        assert sentence in text
    assert re.search(r"clipping +\d[\d.]* ", text)
    assert "… and 22 more on the page" in text  # of the clipping tensors
    assert f"next   landscape probe --model {dissection.model} --data tales --bits 4 --scale exact,absmax" in text
    (page,) = (tmp_path / "report").iterdir()
    assert page.name == "trap-rtn-int4-exact-anatomy.html"
    assert "near but steep" in page.read_text()
    code, out, err = run("anatomy", *words, "--json")
    told = json.loads(out)
    ours = json.loads(json.dumps(anatomy_json(dissected)))
    same = set(told) - {"probes", "seconds", "page", "run", "health"}
    assert {key: told[key] for key in same} == {key: ours[key] for key in same}
    assert told["page"] == str(page)
    assert [check["passed"] for check in told["health"]] == [
        None,
        None,
        None,
        None,
        None,
        True,
        None,
        None,
    ]


def test_a_page_that_cannot_be_written_is_not_worked_for(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    code, out, err = run("anatomy", "--model", "no/such/model", "--output", file)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()  # nothing was begun
    assert line.endswith(f"expected a folder to write to as --output, got '{file}', which is a file; choose another")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "5%"], "expected a limit like ppl+5% (perplexity) or nll+0.05"),
        (["--groups", "layer"], "expected groups from block, type, tensor, got 'layer'"),
        (["--method", "awq"], "expected a method that leaves the weights on a grid"),
        (["--method", "rtm"], "expected methods from rtn"),
        (["--plan-bits", "8,x"], "whole numbers in --plan-bits, got '8,x'"),
        (["--plan-bits", "8,4", "--size", "3.2GB"], "expected a size like 4.25bpw (bits per weight of the matrices"),
        (["--size", "4.25bpw"], "expected --plan-bits with --size, got --size 4.25bpw alone"),
        (["--plan-bits", "4,9"], "expected bits from 2 to 8 in --plan-bits, got 9"),
    ],
)
def test_bad_requests_are_one_line(run: Run, words: list[str], message: str) -> None:
    code, out, err = run("anatomy", *words)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert message in line
