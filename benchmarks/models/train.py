"""Train a small language model of each family, and save each as a checkpoint folder that any tool can load.

    python -m benchmarks.models.train --work WORK --data path/to/wikitext-2

Each model takes about 25 minutes on one slow core and is then in ``WORK/<name>``. An interrupted training resumes from
its last checkpoint; a model whose folder is there is not trained again. Its row in ``benchmarks/models/models.jsonl``
says what was trained and how well, and the tables of `README.md` are rewritten at the end. The weights are not kept in
the repository.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from benchmarks.models.families import FAMILIES, RECIPE, Family
from benchmarks.models.measured import measure
from benchmarks.models.table import ROWS, rewrite
from benchmarks.models.texts import TrainingText, tales, wikitext
from benchmarks.rows import Row, read_rows, write_rows
from data.train import Recipe, State, train


def train_model(family: Family, recipe: Recipe, text: TrainingText, work: Path) -> State:
    """Train a model, from its last checkpoint if there is one of the same recipe and text."""
    folder = work / "training" / f"{family.name}-{text.fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    validation = text.spread(recipe.lengths[0])
    return train(text.documents, validation, recipe, len(text.tokenizer), folder, family.build)


def save_model(family: Family, recipe: Recipe, text: TrainingText, state: State, folder: Path) -> None:
    """Write the weights of the lowest validation loss and the tokenizer into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    model = family.build(replace(recipe, dropout=0.0), len(text.tokenizer))
    model.load_state_dict(state.best_weights)
    model.save_pretrained(folder)
    text.tokenizer.save_pretrained(folder)


def make(family: Family, recipe: Recipe, text: TrainingText, work: Path, rows: Path) -> None:
    """Train, save and measure a model, and keep its row; the folder ``work/<name>`` appears last, when all is done."""
    state = train_model(family, recipe, text, work)
    unfinished = work / f"{family.name}.part"
    save_model(family, recipe, text, state, unfinished)
    row = {
        "model": family.name,
        "text": family.text,
        "text_tokens": text.tokens,
        "layers": recipe.layers,
        "hidden": recipe.hidden,
        "steps": recipe.steps,
        "best_step": min(state.rows, key=lambda point: point[2])[0],
        "trained_tokens": recipe.steps * recipe.batch_tokens,
        "seconds": round(state.seconds),
        "threads": torch.get_num_threads(),
        **measure(unfinished, text, work / "cache"),
    }
    print(row, flush=True)
    keep_row(row, rows)
    os.replace(unfinished, work / family.name)


def keep_row(row: Row, file: Path) -> None:
    """Write a row in place of the model's earlier one, in the order of the families."""
    rows = {known["model"]: known for known in read_rows(file)} | {row["model"]: row}
    write_rows(file, (rows[name] for name in FAMILIES if name in rows))


def main() -> None:
    """Train the models that are missing, and rewrite the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the models and for interrupted training")
    parser.add_argument("--model", choices=FAMILIES, nargs="+", default=list(FAMILIES), help="(default: all)")
    parser.add_argument("--data", default="wikitext2", help="WikiText-2, as for `landscape` (default: %(default)s)")
    parser.add_argument("--tales", type=Path, help="folder of raw stories, tales-*.jsonl.xz, to train on them too")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    read = cache(lambda name: tales(options.tales) if name == "tales" else wikitext(options.data, RECIPE.positions))
    for name in options.model:
        family = FAMILIES[name]
        if not (options.work / name).exists():
            make(family, family.recipe, read(family.text), options.work, ROWS)
    rewrite()


if __name__ == "__main__":
    main()
