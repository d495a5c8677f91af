"""Train a tiny mixture of experts on `tales`: a Qwen3-MoE of one million parameters with a loss well below chance.

    python -m benchmarks.expert_model expert-nano
    landscape probe --model expert-nano --data tales --bits 4,2

Ten minutes on one core, to 2.72 nats per token on validation windows of 256 tokens; chance is 6.93. An auxiliary loss
keeps the experts in use; it is not part of the loss of the saved model. The same seed gives the same weights on the
same CPU and versions of torch; elsewhere they differ by rounding.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from quant.checkpoints.checkpoint import load_checkpoint
from quant.corpora.corpus import load_corpus
from quant.nll import mean_nll, window_nll

LENGTH, BATCH = 256, 8  # 2,048 tokens per step
STEPS, WARMUP, RATE, FLOOR = 1000, 50, 4e-3, 0.05
DECAY, CLIP = 0.1, 1.0
BALANCE = 0.02  # weight of the auxiliary loss
EVERY = 50


def build_model(vocabulary: int, **changes: object) -> Qwen3MoeForCausalLM:
    """Return a freshly initialised model: 4 blocks of width 96, 8 experts each, 2 of them for each token."""
    shape = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "moe_intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "max_position_embeddings": 512,
    }
    config = Qwen3MoeConfig(
        vocab_size=vocabulary,
        norm_topk_prob=True,
        tie_word_embeddings=True,
        router_aux_loss_coef=BALANCE,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        **{**shape, **changes},
    )
    return Qwen3MoeForCausalLM(config)


def batches(windows: Tensor, steps: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield batches (size, L) out of consecutive windows (n, L) of a text, cut from a new random offset each epoch."""
    generator = torch.Generator().manual_seed(seed)
    stream, length = windows.flatten(), windows.shape[1]
    taken = 0
    while True:
        offset = int(torch.randint(length, (), generator=generator))
        rows = stream[offset : offset + (len(windows) - 1) * length].view(-1, length)
        for batch in rows[torch.randperm(len(rows), generator=generator)].split(size):
            if taken == steps:
                return
            taken += 1
            yield batch


def train(model: Qwen3MoeForCausalLM, windows: Tensor, steps: int = STEPS, size: int = BATCH, seed: int = 0) -> None:
    """Train a model in place with AdamW, a short warm-up and a cosine schedule.

    Args:
        model: The model; the weight of its balance loss is in its configuration.
        windows: (n, L) token ids, in the order of the text.
        steps: Number of steps.
        size: Windows per step.
        seed: Seed of the order of the windows.
    """
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    model.requires_grad_(True).train()
    for step, batch in enumerate(batches(windows, steps, size, seed)):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps)
        output = model(input_ids=batch, use_cache=False, output_router_logits=True)
        logits = output.logits[:, :-1].flatten(0, 1)
        loss = cross_entropy(logits, batch[:, 1:].flatten())
        (loss + model.config.router_aux_loss_coef * output.aux_loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % EVERY == 0:
            print(f"step {step + 1:5d}  loss {loss.item():.4f}  balance {output.aux_loss.item():.3f}", flush=True)
    model.requires_grad_(False).eval()


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    return RATE * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP))))


def main(arguments: list[str]) -> None:
    """Train the model and save it with opt-nano's tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder for the model")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"training steps (default: {STEPS})")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the initial weights and the order of the text (default: 0)"
    )
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    torch.set_num_threads(1)
    nano = load_checkpoint()
    corpus = load_corpus("tales", nano, LENGTH)
    torch.manual_seed(options.seed)
    model = build_model(len(nano.tokenizer))
    train(model, corpus.windows("train"), options.steps, seed=options.seed)
    loss = mean_nll([window_nll(model, window) for window in corpus.windows("validation")])
    model.save_pretrained(options.folder)
    nano.tokenizer.save_pretrained(options.folder)
    print(f"validation {loss:.4f} nats at {LENGTH} tokens, {time.perf_counter() - started:.0f} s; {options.folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
