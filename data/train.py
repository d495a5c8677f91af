"""Train opt-nano, a one-million-parameter OPT, and keep the weights of its lowest validation loss.

The learning rate rises, falls along a cosine and ends in a flat tail, in which dropout is switched off: the validation
loss then passes its bottom, and the curve shows it. A checkpoint in the work folder lets an interrupted training go on
where it stopped.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the corpus.

    Attributes:
        hidden, layers, heads, positions: Shape of the model; the feed-forward width is four times `hidden`.
        dropout: On the output of attention and feed-forward, while training only; the saved configuration has none.
        dropout_steps: Steps with dropout. Those after them go without and end in overfitting, so that the curve shows
            the bottom of the validation loss.
        lengths: Window lengths in tokens; each takes an equal share of every epoch.
        batch_tokens: Tokens a step, whatever the window length.
        aligned: Share of the windows which are moved to begin with `</s>`, as samples from the model do.
        steps: Steps in all, of which `warmup` rise to `lr` and the last `tail` stay at `lr * floor`.
        every: Steps between two points of the training curve.
    """

    hidden: int = 128
    layers: int = 5
    heads: int = 4
    positions: int = 512
    dropout: float = 0.1
    dropout_steps: int = 6000
    lengths: tuple[int, ...] = (256, 512)
    batch_tokens: int = 2048
    aligned: float = 0.25
    steps: int = 8000
    warmup: int = 100
    tail: int = 3000
    lr: float = 3e-3
    floor: float = 0.05
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    every: int = 100
    seed: int = 20


Build = Callable[[Recipe, int], PreTrainedModel]
"""Function from a recipe and the number of token ids to a freshly initialised model."""


@dataclass
class State:
    """A training under way.

    Attributes:
        step: Steps taken.
        seconds: Seconds of training, evaluation included, over all interruptions.
        best: Lowest validation loss so far, in nats per token.
        best_weights: The weights that gave it.
        rows: The training curve: step, train loss, validation loss, learning rate.
    """

    model: PreTrainedModel
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    rows: list[tuple[int, float, float, float]] = field(default_factory=list)


def build_model(recipe: Recipe, vocabulary: int) -> OPTForCausalLM:
    """Return a freshly initialised model; token 0 is `</s>`, token 1 is `<pad>`."""
    config = OPTConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.hidden,
        word_embed_proj_dim=recipe.hidden,
        ffn_dim=4 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.positions,
        dropout=recipe.dropout,
        attention_dropout=0.0,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    return OPTForCausalLM(config)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, cosine, flat tail."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    progress = min(1.0, (step - recipe.warmup) / (recipe.steps - recipe.tail - recipe.warmup))
    return recipe.lr * (recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def windows(stories: list[np.ndarray], length: int, aligned: float, rng: np.random.Generator) -> np.ndarray:
    """Return windows (n, length) of the stories laid end to end, cut from a random offset.

    Args:
        stories: Token ids of each story, beginning with `</s>`.
        length: Tokens a window.
        aligned: Share of the windows moved back to the beginning of the story in which they fall.
        rng: Source of the offset and of the choice of windows to move.
    """
    stream = np.concatenate(stories)
    begins = np.cumsum([0] + [len(story) for story in stories[:-1]])
    starts = np.arange(rng.integers(length), len(stream) - length + 1, length)
    moved = begins[np.searchsorted(begins, starts, side="right") - 1]
    starts = np.where(rng.random(len(starts)) < aligned, moved, starts)
    return stream[starts[:, None] + np.arange(length)]


def epoch_batches(stories: list[np.ndarray], recipe: Recipe, epoch: int) -> list[torch.Tensor]:
    """Return the batches of an epoch; they depend on nothing but the recipe's seed and the epoch's number."""
    rng = np.random.default_rng([recipe.seed, epoch])
    shares = np.array_split(rng.permutation(len(stories)), len(recipe.lengths))
    batches = []
    for length, share in zip(recipe.lengths, shares, strict=True):
        rows = torch.from_numpy(windows([stories[i] for i in share], length, recipe.aligned, rng))
        rows = rows[torch.from_numpy(rng.permutation(len(rows)))]
        batches += list(rows.split(recipe.batch_tokens // length))
    return [batches[i] for i in rng.permutation(len(batches))]


def loss_of(model: PreTrainedModel, batch: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Return the next-token cross entropy of a batch (windows, length), in nats."""
    logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction=reduction)


@torch.no_grad()
def nll(model: PreTrainedModel, tokens: np.ndarray, length: int) -> float:
    """Return the mean NLL in nats per scored token, over contiguous windows; the tail is dropped.

    Tokens 2 to `length` of each window are scored, given those before them in the window.
    """
    model.eval()
    rows = torch.from_numpy(tokens[: len(tokens) // length * length].reshape(-1, length))
    total = sum(loss_of(model, batch, "sum").item() for batch in rows.split(max(1, 4096 // length)))
    return total / (rows.shape[0] * (length - 1))


def train_step(state: State, recipe: Recipe, batch: torch.Tensor) -> float:
    """Take one step and return its loss, which dropout makes higher than the model's."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, state.step)
    state.model.train(state.step < recipe.dropout_steps)  # dropout is all that the mode changes in OPT
    loss = loss_of(state.model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.step += 1
    return loss.item()


def new_state(recipe: Recipe, vocabulary: int, build: Build = build_model) -> State:
    """Return a seeded training at step 0; weight decay is on the matrices only."""
    torch.manual_seed(recipe.seed)
    model = build(recipe, vocabulary)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return State(model, torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas))


def save_state(state: State, recipe: Recipe, file: Path) -> None:
    """Write the training to `file`; a crash while writing leaves the old file."""
    parts: dict[str, Any] = {
        "recipe": asdict(recipe),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "plain": (state.step, state.seconds, state.best, state.best_weights, state.rows),
    }
    torch.save(parts, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


def load_state(recipe: Recipe, vocabulary: int, file: Path, build: Build = build_model) -> State:
    """Return the training in `file`, or a new one where there is none of this recipe."""
    state = new_state(recipe, vocabulary, build)
    if not file.exists():
        return state
    parts = torch.load(file, weights_only=True)
    if parts["recipe"] != asdict(recipe):
        return state
    state.model.load_state_dict(parts["model"])
    state.optimizer.load_state_dict(parts["optimizer"])
    torch.set_rng_state(parts["random"])
    state.step, state.seconds, state.best, state.best_weights, state.rows = parts["plain"]
    return state


def record(state: State, recipe: Recipe, losses: list[float], validation: np.ndarray) -> None:
    """Add a point to the training curve and keep the weights if they are the best so far."""
    loss = nll(state.model, validation, recipe.lengths[0])
    state.rows.append((state.step, float(np.mean(losses)), loss, learning_rate(recipe, state.step - 1)))
    if loss < state.best:
        state.best = loss
        state.best_weights = {name: value.clone() for name, value in state.model.state_dict().items()}
    print("step {:5d}  train {:.4f}  validation {:.4f}  lr {:.2e}".format(*state.rows[-1]), flush=True)


def train(
    stories: list[np.ndarray],
    validation: np.ndarray,
    recipe: Recipe,
    vocabulary: int,
    work: Path,
    build: Build = build_model,
) -> State:
    """Train to the end of the recipe and return the state.

    Args:
        stories: Token ids of each train story, beginning with `</s>`.
        validation: Token ids of the validation split in one piece.
        recipe: What to train and how.
        vocabulary: Number of token ids.
        work: Folder of the checkpoint, outside the repository.
        build: The model to train; OPT, if not given.
    """
    file = work / "checkpoint.pt"
    state = load_state(recipe, vocabulary, file, build)
    clock = time.perf_counter() - state.seconds
    losses: list[float] = []
    epoch, seen = 0, 0
    while state.step < recipe.steps:
        batches = epoch_batches(stories, recipe, epoch)
        for batch in batches[max(0, state.step - seen) :]:
            losses.append(train_step(state, recipe, batch))
            if state.step % recipe.every == 0 or state.step == recipe.steps:
                record(state, recipe, losses, validation)
                state.seconds = time.perf_counter() - clock
                save_state(state, recipe, file)
                losses = []
            if state.step == recipe.steps:
                break
        epoch, seen = epoch + 1, seen + len(batches)
    return state


def write_curve(rows: list[tuple[int, float, float, float]], file: Path) -> None:
    """Write the training curve as CSV."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["step", "train_loss", "validation_loss", "lr"])
        writer.writerows((step, f"{a:.4f}", f"{b:.4f}", f"{lr:.6g}") for step, a, b, lr in rows)
