"""Every benchmark gives rows that the table knows, measured on the checkout that was asked for."""

import argparse
from pathlib import Path

import pytest

from benchmarks.rows import read_rows
from benchmarks.speed import forward, gptq_solver, measure, memory, rays, scale_search, storage, training
from benchmarks.speed.lines import LINES
from benchmarks.speed.models import Options, random_tokens

KEYS = {line.key for line in LINES}
ONCE = Options(rounds=1, blocks=1)


def keys(rows) -> list[str]:
    found = list(rows)
    for row in found:
        assert all(number > 0 for number in row.get("ratio", [row.get("value")]))
    return [row["key"] for row in found]


def test_a_window_is_compared_with_its_floor_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "LENGTH", 32)
    found = keys(forward.bench_window(ONCE))
    assert found == [f"window/{name}" for name in ("floor", "logits", "trunk", "head", "chunks")]
    assert set(found) <= KEYS


def test_another_loss_than_that_of_plain_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "LENGTH", 32)
    monkeypatch.setattr(forward, "bare_loss", lambda model, window: 1.0)
    with pytest.raises(SystemExit, match="expected the loss of plain torch, 1, got"):
        list(forward.bench_window(ONCE))


def test_probes_and_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rays, "LENGTH", 8)
    assert keys(rays.bench_probe(ONCE)) == ["probe/bare"]
    assert set(keys(rays.bench_drawing(ONCE))) == {key for key in KEYS if key.startswith("drawing/")}


def test_training_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "random_tokens", lambda windows, length: random_tokens(windows, 8))
    assert set(keys(training.bench_qaft(ONCE))) == {key for key in KEYS if key.startswith("qaft/")}
    monkeypatch.setattr(memory, "peak", iter([1.0, 1.5, 1.5, 1.5, 1.5]).__next__)
    monkeypatch.setattr(memory, "LENGTH", 128)
    row = memory.added("memory/evaluation", lambda length: None)
    assert row["logits"] == 4 * 128 * memory.WIDE_VOCABULARY / 2**20
    with pytest.raises(SystemExit, match="expected a new peak of memory"):
        memory.added("memory/training", lambda length: None)


def test_a_store_and_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "DIRECTIONS", 2)
    monkeypatch.setattr(scale_search, "WEIGHTS", 10_000)
    monkeypatch.setattr(scale_search, "exact_scales", lambda weights, high: weights.sort())
    assert keys(storage.bench_store(ONCE)) == ["store/read", "store/plan"]
    assert set(keys(scale_search.bench_scales(ONCE))) == {key for key in KEYS if key.startswith("scales/")}


def test_the_solver_agrees_with_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq_solver, "SHAPES", {"q, o": (64, 96)})
    (row,) = gptq_solver.bench_solver(ONCE)
    assert row["key"] in KEYS
    assert row["alike"] > 0.99


def test_every_benchmark_is_a_function_of_its_module() -> None:
    for name, (module, function, threads) in measure.BENCHMARKS.items():
        assert (Path(measure.HERE) / f"{module}.py").read_text().count(f"def {function}(options: Options)") == 1, name
        assert threads


def test_a_benchmark_runs_apart_on_the_packages_of_a_checkout(tmp_path: Path) -> None:
    options = argparse.Namespace(rounds=1, model=None)
    here, peak = measure.run_apart("help", 1, measure.ROOT, options)
    assert (here["key"], peak["key"], here["benchmark"], here["threads"]) == ("help/python", "peak/help", "help", 1)
    for package in ("quant", "landscape"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('another checkout')\n")
    with pytest.raises(SystemExit, match="benchmark help failed"):
        measure.run_apart("help", 1, tmp_path, options)


def test_rows_replace_those_of_the_same_benchmark_threads_and_model(tmp_path: Path) -> None:
    def row(benchmark: str, threads: int, value: int) -> dict:
        return {"benchmark": benchmark, "threads": threads, "model": None, "key": benchmark, "value": value}

    file = tmp_path / "now.jsonl"
    measure.keep(file, [row("a", 1, 1), row("b", 1, 1)])
    measure.keep(file, [row("a", 2, 2)])
    measure.keep(file, [row("b", 1, 3), row("b", 1, 4)])
    assert [(r["benchmark"], r["threads"], r["value"]) for r in read_rows(file)] == [
        ("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("b", 1, 4),
    ]  # fmt: skip
