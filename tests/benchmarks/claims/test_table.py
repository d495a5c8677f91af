"""The paper's claims on the landscape: tables that are made of the rows, and rows that follow from their numbers."""

from benchmarks.claims import measure, table


def judged(verdict: str, aside: bool = False, **more: object) -> dict:
    estimate = {"value": 1.234567, "low": 1.0, "high": None}
    return {
        "number": 1, "case": "at R", "text": "alike", "measure": "m", "threshold": "≤ 2", "verdict": verdict,
        "estimate": estimate, "note": "too few", "aside": aside,
    } | more  # fmt: skip


def test_a_claim_fails_in_the_table_if_one_case_does() -> None:
    assert table.verdict([judged("holds"), judged("fails"), judged("open")]) == ("**fails** (1 holds, 1 fails, 1 open)")
    assert table.verdict([judged("holds"), judged("open")]) == "open (1 holds, 1 open)"
    assert table.verdict([judged("holds"), judged("fails", aside=True)]) == "holds (1 holds)"


def test_a_cell_shows_the_number_its_interval_and_what_is_not_known() -> None:
    assert table.cell(judged("fails")) == "**fails** 1.23 [1, ∞]"
    exact = judged("holds", estimate={"value": 1.0, "low": 1.0, "high": 1.0})
    assert table.cell(exact) == "holds 1"
    assert table.cell(judged("open", estimate=None)) == "open: too few"
    assert table.cell(None) == ""


def test_a_case_that_stands_aside_in_one_model_alone_has_two_lines() -> None:
    within, beyond = judged("holds", aside=True), judged("fails", threshold="> 3")
    lines = list(table.details([{"model": "a", "claims": [within]}, {"model": "b", "claims": [beyond]}]))[2:]
    assert lines == [
        "| 1 | *at R* | m: ≤ 2 | holds 1.23 [1, ∞] |  |",
        "| 1 | at R | m: > 3 |  | **fails** 1.23 [1, ∞] |",
    ]


def test_the_tables_of_claims_are_those_of_the_rows() -> None:
    page = table.PAGE
    assert page.filled(table.tables(table.models())) == page.text
    assert "| 6 | " in page.table("summary")


def test_the_commands_on_the_page_ask_for_what_the_rows_hold() -> None:
    lines = [line.split() for line in table.PAGE.text.splitlines() if "benchmarks.claims.measure" in line]
    asked = {r.model: r for r in (measure.survey(measure.parsed(words[3:])) for words in lines)}
    assert tuple(asked) == table.MODELS
    for model in table.models():
        request = asked[model["model"]]
        on_grids = [spec.name for spec in request.specs if spec.scheme]  # the control, w_FT, has no claim
        assert [point["name"] for point in model["points"] if point["name"].partition("-")[0] != "w_ft"] == on_grids
        assert model["basin"]["directions"] == request.directions
        assert model["settings"]["preset"] == request.preset.name
        assert model["basin"]["windows"] == request.preset.validation_windows


def test_verdicts_in_the_rows_follow_from_their_numbers() -> None:
    """Where the threshold is one number that the interval can be held against."""
    for model in table.models():
        for row in model["claims"]:
            if row["estimate"] is None or row["number"] in (3, 6) or row["threshold"][0] not in "≤>":
                continue
            low, high = (row["estimate"][key] for key in ("low", "high"))
            limit, below = float(row["threshold"][2:]), row["threshold"][0] == "≤"
            sure = {"holds": high, "fails": low} if below else {"holds": low, "fails": high}
            if row["verdict"] == "open":
                assert low is None or high is None or low < limit < high, row
            else:
                assert (sure[row["verdict"]] <= limit) == (below == (row["verdict"] == "holds")), row
