"""Check and time one CUDA card against the CPU and against its own limits:  python -m benchmarks.gpu.

Three tables, in under eight minutes on one card:

    agreement    NLL, R and directions on the card against the CPU's, in float32
    throughput   tokens/s of the evaluation, as a share of a roofline: the time of the model's own matrix shapes by
                 `torch.mm` at the same precision plus attention, measured in the same run on the same card
    directions   probes/s with each direction drawn on the card, against drawn on the host and copied

Without a card, small models run on the CPU, so that the script itself is tested; what needs a card is "not measured".
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM

from landscape import RadiusRequest, measure_radius
from landscape.positions.atlas import Atlas
from landscape.positions.directions import Sphere
from landscape.positions.position import OnRay
from landscape.probing.batches import fastest_size
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant.center import Center
from quant.nll import HEAD_ROWS, batch_nll, window_nll
from quant.normals import made_on
from quant.numerics import HIGH, HIGHEST, matmul_precision
from quant.space import WeightSpace

LIMIT = 450.0
"""Seconds after which nothing new is begun: the whole stays under eight minutes."""
ROUNDS = 5
NOT_MEASURED = "not measured"
SIZES = {
    "125M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 12,
             "num_key_value_heads": 12, "vocab_size": 32768},
    "1B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256},
}  # fmt: skip
"""Shapes of the random models: 137 million weights, 25 of them a tied head; and those of Llama 3.2 1B."""
SMALL = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 4, "vocab_size": 256},
}  # fmt: skip
"""The model of the CPU's fallback, which shows nothing but that the script runs."""
PRECISIONS = {
    "float32": (torch.float32, HIGHEST),
    "TF32": (torch.float32, HIGH),
    "bfloat16": (torch.bfloat16, HIGHEST),
}
"""Dtype of the model and precision of float32 products, by name."""


@dataclass
class Bench:
    """Device, models and time of one run."""

    device: torch.device
    length: int
    """Tokens per window."""
    started: float = field(default_factory=time.monotonic)

    @property
    def card(self) -> bool:
        """Return whether the device is a card."""
        return self.device.type == "cuda"

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Shapes of the models."""
        return SIZES if self.card else SMALL

    @property
    def over(self) -> bool:
        """Return whether the time for measuring is used up."""
        return time.monotonic() - self.started > LIMIT

    def seconds(self, work: Callable[[], object]) -> float:
        """Time a call: the median of a few, after one that is not counted."""
        work()
        return statistics.median(self._once(work) for _ in range(ROUNDS))

    def _once(self, work: Callable[[], object]) -> float:
        self._wait()
        begin = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - begin

    def _wait(self) -> None:
        if self.card:
            torch.cuda.synchronize(self.device)

    def model(self, shape: dict[str, int], dtype: torch.dtype = torch.float32) -> nn.Module:
        """Build a random model on the device."""
        config = LlamaConfig(
            **shape, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0
        )
        torch.manual_seed(0)
        with self.device:
            return LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)

    def windows(self, count: int, vocabulary: int) -> Tensor:
        """Draw random token windows on the host, (count, L)."""
        return torch.randint(0, vocabulary, (count, self.length), generator=torch.Generator().manual_seed(0))


# ---- agreement ------------------------------------------------------------------------------------------------------


def agreement(bench: Bench) -> Iterator[tuple[str, str, str]]:
    """Compare the card with the CPU: NLL of windows, R of opt-nano, the coordinates of a direction."""
    limits = {"NLL of a window": "≤ 1e-5", "R of opt-nano": "inside the interval", "direction": "≤ 1e-5"}
    if not bench.card:
        yield from ((f"{what}: card against CPU", NOT_MEASURED, goal) for what, goal in limits.items())
        return
    host = Bench(torch.device("cpu"), bench.length)
    shape = bench.sizes["125M"] | {"num_hidden_layers": 4}
    ours, theirs = host.model(shape), host.model(shape).to(bench.device)
    with matmul_precision(HIGHEST):
        yield (
            "NLL of a window: card against CPU",
            f"{nll_difference(ours, theirs, host.windows(4, 32768)):.1e}",
            "≤ 1e-5",
        )
        yield "direction: card against CPU", f"{direction_difference(ours, theirs):.1e}", "≤ 1e-5"
    yield "R of opt-nano: card against CPU", radius_difference("cpu", str(bench.device)), "inside the interval"


def nll_difference(a: nn.Module, b: nn.Module, windows: Tensor) -> float:
    """Return the largest relative difference of a window's NLL between two copies of a model."""
    pairs = [(window_nll(a, window).total, window_nll(b, window).total) for window in windows]
    return max(abs(x - y) / abs(x) for x, y in pairs)


def direction_difference(a: nn.Module, b: nn.Module) -> float:
    """Return the largest difference of a coordinate of direction 0, in standard deviations of a coordinate."""
    space = WeightSpace.of(a)
    one, other = (Sphere(space).draw(0, Center.of(model, space)) for model in (a, b))
    largest = max(float((one.tensor(s).cpu() - other.tensor(s).cpu()).abs().max()) for s in space)
    return largest * space.dimension**0.5


def radius_difference(*devices: str) -> str:
    """Return R of opt-nano on each device, with the interval of the first."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for place, device in enumerate(devices):
            request = RadiusRequest(
                "opt-nano", seq_len=64, precision=0.1, device=device, store=Path(folder) / str(place)
            )
            found.append(measure_radius(request).search.radius)
    first = found[0].estimate
    interval = f" [{first.low:.2f}, {first.high:.2f}]" if first else ""
    return f"{found[-1].value:.3f} against {found[0].value:.3f}{interval}"


# ---- throughput -----------------------------------------------------------------------------------------------------


def throughput(bench: Bench) -> Iterator[tuple[str, str, str]]:
    """Time the evaluation of windows of each model at each precision, and its roofline."""
    for size, shape in bench.sizes.items():
        for name, (dtype, level) in PRECISIONS.items():
            what = f"{size}, {name}"
            if level == HIGH and not bench.card:
                yield what, f"{NOT_MEASURED} (no card)", ""
            elif bench.over:
                yield what, f"{NOT_MEASURED} (out of time)", ""
            else:
                yield what, evaluation(bench, shape, dtype, level), "goal ≥ 85 %" if bench.card else ""
    yield from ((f"{size}, any", NOT_MEASURED, "needs a card") for size in SIZES if not bench.card)


def evaluation(bench: Bench, shape: dict[str, int], dtype: torch.dtype, level: str) -> str:
    """Return tokens/s, the share of the roofline, and the rate of the model's own operations."""
    try:
        model = bench.model(shape, dtype)
        with matmul_precision(level) if bench.card else nullcontext():
            batch = fastest_size(model, bench.windows(1, shape["vocab_size"])[0])
            rows = bench.windows(batch, shape["vocab_size"])
            taken = bench.seconds(lambda: batch_nll(model, rows))
            least = bench.seconds(roofline(model, batch, bench.length))
    except torch.OutOfMemoryError:
        return f"{NOT_MEASURED} (does not fit in memory)"
    tokens, operations = batch * bench.length, flops(model, batch, bench.length)
    return (
        f"{tokens / taken:,.0f} tokens/s, {least / taken:.0%} of the roofline, {operations / taken / 1e12:.2f} "
        f"TFLOP/s, {operations / 1e9:.2f} GFLOP in batches of {batch}"
    )


def products(model: nn.Module) -> list[Tensor]:
    """Return the matrices that a forward pass multiplies with, the head among them."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear)]


def flops(model: nn.Module, batch: int, length: int) -> int:
    """Count the operations of a forward pass: two per weight and token, and attention's two causal products."""
    linear = 2 * batch * length * sum(weight.numel() for weight in products(model))
    config = model.config
    width = config.num_attention_heads * (config.hidden_size // config.num_attention_heads)
    return linear + config.num_hidden_layers * 2 * batch * length**2 * width


@torch.inference_mode()
def roofline(model: nn.Module, batch: int, length: int) -> Callable[[], None]:
    """Return a function that makes the products of a forward pass alone, by `torch.mm`, and attention."""
    config, some = model.config, products(model)[0]
    head_width = config.hidden_size // config.num_attention_heads
    tokens = batch * length
    inputs = {width: some.new_empty(tokens, width).normal_() for width in {w.shape[1] for w in products(model)}}
    query = some.new_empty(batch, config.num_attention_heads, length, head_width).normal_()
    weights = [(weight, HEAD_ROWS if weight.shape[0] == config.vocab_size else tokens) for weight in products(model)]

    @torch.inference_mode()
    def run() -> None:
        for weight, at_once in weights:
            for rows in torch.split(inputs[weight.shape[1]], at_once):
                torch.mm(rows, weight.t())
        for _ in range(config.num_hidden_layers):
            scaled_dot_product_attention(query, query, query, is_causal=True)

    return run


# ---- directions -----------------------------------------------------------------------------------------------------


class HostSphere(Sphere):
    """The sphere's directions, drawn on the host and copied to the device."""

    def redrawn_on(self, device: torch.device) -> bool:
        """Hold every direction, wherever it is needed."""
        return False


def directions(bench: Bench) -> Iterator[tuple[str, str, str]]:
    """Time probes, a new direction for each, drawn on the card and on the host."""
    size, shape = next(iter(bench.sizes.items()))
    model = bench.model(shape)
    space = WeightSpace.of(model)
    on_card = f"{NOT_MEASURED} (no card)" if not bench.card else f"{NOT_MEASURED} (no Triton)"
    if made_on(bench.device):
        on_card = f"{probes_per_second(bench, model, Sphere(space)):.2f} probes/s"
    yield f"{size}, drawn on the card", on_card, ""
    yield f"{size}, drawn on the host", f"{probes_per_second(bench, model, HostSphere(space)):.2f} probes/s", ""


def probes_per_second(bench: Bench, model: nn.Module, sphere: Sphere) -> float:
    """Return directions per second, each with one λ and one window."""
    space, count = sphere.space, 4
    center = Center.of(model, space)
    windows = identified(bench.windows(1, model.config.vocab_size))
    places = iter(range(10**6))

    def probe() -> None:
        positions = [OnRay(sphere.name, next(places), 1.0) for _ in range(count)]
        engine = InlineEngine(model, space, Atlas(center, {}, {sphere.name: sphere}))
        list(engine.evaluate(ProbePlan.of(positions, windows)))

    return count / bench.seconds(probe)


# ---- the tables -----------------------------------------------------------------------------------------------------

TABLES: dict[str, Callable[[Bench], Iterator[tuple[str, str, str]]]] = {
    "Agreement in float32": agreement,
    "Throughput of the evaluation": throughput,
    "Directions": directions,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cuda:N or cpu; default: the first card, else the CPU")
    parser.add_argument("--length", type=int, help="tokens per window; default: 512, or 32 without a card")
    given = parser.parse_args()
    device = torch.device(given.device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
    bench = Bench(device, given.length or (512 if device.type == "cuda" else 32))
    name = torch.cuda.get_device_name(device) if bench.card else f"no card: {torch.get_num_threads()} threads of a CPU"
    print(f"{name}, torch {torch.__version__}, windows of {bench.length} tokens")
    for title, table in TABLES.items():
        print(f"\n{title}")
        for what, value, remark in table(bench):
            print(f"  {what:36} {value}{f'   ({remark})' if remark else ''}", flush=True)
    print(f"\n{time.monotonic() - bench.started:.0f} s")


if __name__ == "__main__":
    main()
