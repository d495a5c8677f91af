"""Run the study of a model, and keep what the page shows of it: findings, figures and perplexities.

    python -m benchmarks.study.measure --model opt-nano --work WORK
    python -m benchmarks.study.measure --model smollm2-135m --data path/to/wikitext-2 --work WORK
    python -m benchmarks.study.table

The study is ``landscape study benchmarks/study/<model>.toml``. Points and probes go into a cache in WORK, so that an
interrupted run resumes; ``--shard i/n`` evaluates one part, as for ``landscape study``. The rows go to
``benchmarks/study/<model>.jsonl``, the pictures to ``benchmarks/study/figures``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pictures import few_colours
from benchmarks.rows import Row, write_rows
from landscape.formatting import duration
from landscape.records.record import Record, load_record
from landscape.records.run_files import study_path
from landscape.report.chart import Chart, Missing
from landscape.report.mpl_chart import render
from landscape.report.study.figures import groups
from landscape.report.study.findings import claim_findings, findings
from landscape.study.result import StudyResult

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "figures"
_MAIN = "from landscape.cli import main; main()"


def rows(study: StudyResult, command: str) -> Iterator[Row]:
    """Yield all that the page shows of a study of one model, JSON-able."""
    (model,) = study.models
    subject, run = model.survey.subject, model.survey.run
    yield {
        "kind": "study", "model": subject.model, "command": command,
        "probes": run.probes.total, "settings": {**study.settings, "seq_len": subject.seq_len, **subject.windows},
        "versions": {key: str(value) for key, value in run.settings.items() if key in ("torch", "processor")},
    }  # fmt: skip
    for finding in [*findings(study), *claim_findings(study)]:
        yield {
            "kind": "finding", "text": finding.text, "source": finding.source, "verdict": finding.verdict,
            "numbers": finding.numbers, "figure": finding.figure,
        }  # fmt: skip
    for group in groups(study):
        for chart in group.charts:
            drawn = isinstance(chart, Chart)
            yield {
                "kind": "figure", "id": chart.id, "group": group.title, "source": group.source, "title": chart.title,
                "drawn": drawn, "reason": "" if drawn else chart.reason,
            }  # fmt: skip
    for point in model.survey.points:
        yield {
            "kind": "point", "name": point.name, "method": point.method, "bits": point.bits, "grid": point.grid,
            "nll": {split: round(nll, 5) for split, nll in point.nll.items()},
            "kl": {split: round(each.kl.value, 5) for split, each in point.fidelity.items()},
            "location": point.location, "loss": point.loss,
        }  # fmt: skip


def draw(study: StudyResult, model: str) -> None:
    """Write each figure as a PNG of few colours, a third as large, in place of those of an earlier study."""
    FIGURES.mkdir(exist_ok=True)
    for old in FIGURES.glob(f"{model}--*.png"):
        old.unlink()
    charts: list[Chart | Missing] = [chart for group in groups(study) for chart in group.charts]
    for chart in charts:
        if isinstance(chart, Chart):
            (FIGURES / f"{model}--{chart.id}.png").write_bytes(few_colours(render(chart)["png"]))


def run(model: str, data: str | None, work: Path, more: list[str]) -> Record:
    """Run the study, and return what it kept."""
    words = ["study", str(HERE / f"{model}.toml"), *(["--data", data] if data else [])]
    words += ["--store", str(work), "--output", str(work / "pages"), *more]
    subprocess.run([sys.executable, "-c", _MAIN, *words], check=True)
    return load_record(study_path(work, model))


def main() -> None:
    """Run the study, and write rows and pictures; a shard only adds to the cache."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="opt-nano")
    parser.add_argument("--data", help="(default: tales for opt-nano, wikitext2 for all others)")
    parser.add_argument("--work", type=Path, required=True, help="cache folder, made if there is none")
    parser.add_argument("--shard", help="evaluate one part, such as 1/2, into WORK, and write nothing else")
    arguments = parser.parse_args()
    name = Path(arguments.model).name
    if arguments.shard:
        words = ["study", str(HERE / f"{name}.toml"), *(["--data", arguments.data] if arguments.data else [])]
        command = [sys.executable, "-c", _MAIN, *words, "--store", str(arguments.work), "--shard", arguments.shard]
        raise SystemExit(subprocess.run(command, check=False).returncode)
    record = run(name, arguments.data, arguments.work, [])
    given = " --data path/to/wikitext-2" if arguments.data else ""
    found = list(rows(record.result, f"landscape study benchmarks/study/{name}.toml{given}"))
    write_rows(HERE / f"{name}.jsonl", found)
    draw(record.result, name)
    print(f"{len(found)} rows; the last run took {duration(record.result.seconds)}")


if __name__ == "__main__":
    main()
