"""Build the embedded corpus `tales` and the model `opt-nano` from the raw stories.

    python data/build.py --tales ../shared/tales

Clean, split, train a tokenizer, train a model, round it to float16, measure what was saved, draw the training curve.
About an hour on one core; an interrupted run goes on from the checkpoint in the work folder.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from clean import Cleaning, clean_stories
from corpus import END, join, read_raw, write
from curve import draw_curve
from train import Recipe, State, build_model, nll, train, write_curve
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from vocabulary import VOCABULARY, save_tokenizer, train_tokenizer

HERE = Path(__file__).resolve().parent
MEASURED_LENGTHS = (256, 512)


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tales", type=Path, required=True, help="folder of the raw stories, tales-*.jsonl.xz")
    parser.add_argument("--out", type=Path, default=HERE, help="where tales/ and opt-nano/ go (default: here)")
    work = Path(tempfile.gettempdir()) / "opt-nano"
    parser.add_argument("--work", type=Path, default=work, help=f"folder of the checkpoint (default: {work})")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help=f"training steps (default: {Recipe.steps})")
    return parser.parse_args()


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> np.ndarray:
    """Return the token ids of a text in the corpus format."""
    return np.array(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def save_model(state: State, recipe: Recipe, vocabulary: int, folder: Path) -> None:
    """Write the best weights, rounded to float16, and a configuration without dropout that loads them as float32."""
    model = build_model(recipe, vocabulary)
    model.load_state_dict(state.best_weights)
    model.half()
    model.config.dropout = 0.0
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone, it would go so into the wheel
    file = folder / "config.json"
    config = json.loads(file.read_text()) | {"dtype": "float32"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def measure(folder: Path, splits: dict[str, list[str]]) -> dict[str, object]:
    """Return sizes and NLLs of the corpus and of the model as a user would load them from `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    report: dict[str, object] = {"parameters": model.num_parameters(), "corpus": {}}
    for name, stories in splits.items():
        text = join(stories)
        tokens = encode(tokenizer, text)
        sizes = {"stories": len(stories), "bytes": len(text.encode()), "tokens": len(tokens)}
        losses = {f"nll_{length}": round(nll(model, tokens, length), 4) for length in MEASURED_LENGTHS}
        report["corpus"][name] = sizes | losses
    return report


def write_report(
    report: dict[str, object], cleaning: Cleaning, raw: int, state: State, recipe: Recipe, file: Path
) -> None:
    """Write `training.json`: every number that the README quotes and the tests check."""
    best = min(state.rows, key=lambda row: row[2])
    report |= {
        "cleaning": {"raw": raw, "kept": len(cleaning.stories), "dropped": cleaning.dropped, "mended": cleaning.mended},
        "best_step": best[0],
        "best_validation_loss_before_rounding": round(best[2], 4),
        "seconds": round(state.seconds),
        "recipe": asdict(recipe),
    }
    file.write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    """Build everything."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    folder = arguments.out / "opt-nano"
    recipe = Recipe(steps=arguments.steps)

    raw = read_raw(arguments.tales)
    cleaning = clean_stories(raw)
    splits = write(cleaning.stories, arguments.out / "tales")
    print(f"{len(raw)} raw stories, kept {len(cleaning.stories)}, dropped {dict(cleaning.dropped)}", flush=True)

    stories = (f"{story}\n" for story in splits["train"])
    save_tokenizer(train_tokenizer(stories, END, VOCABULARY, recipe.positions), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stories = [encode(tokenizer, join([story])) for story in splits["train"]]
    validation = encode(tokenizer, join(splits["validation"]))
    print(f"{sum(map(len, stories))} train tokens, {len(validation)} validation tokens", flush=True)

    state = train(stories, validation, recipe, len(tokenizer), arguments.work)
    save_model(state, recipe, len(tokenizer), folder)
    write_curve(state.rows, folder / "training.csv")
    draw_curve(state.rows, folder / "training.svg")
    write_report(measure(folder, splits), cleaning, len(raw), state, recipe, folder / "training.json")


if __name__ == "__main__":
    main()
