"""Work on a model several times larger than the memory left:  python -m tests.landscape.limited_memory  (Linux).

The model and its pristine copy are made first. Then the address space is limited to its present size and a head room
of less than a quarter of the model, in which norms, cosines and distances must be computed. A point may add its codes,
one byte per weight, and probes along a ray one direction, which a CPU may hold. In each of these rooms a flat vector of
all weights must fail, or the limit would prove nothing.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from landscape.positions.atlas import Atlas, Ray
from landscape.positions.directions import Sphere
from landscape.positions.parts import combined, part_statistics
from landscape.positions.position import At, OnRay, OnSegment
from landscape.probing.engines.inline import InlineEngine
from landscape.probing.plan import ProbePlan, identified
from quant.center import Center
from quant.methods.rtn import rtn
from quant.scheme import QuantScheme
from quant.space import Difference, WeightSpace, distance, dot, norm

HEAD_ROOM = 60_000_000
LAM = 3.0


def build() -> LlamaForCausalLM:
    """A Llama of 67 million weights in its blocks, 268 MB in float32, and few others."""
    config = LlamaConfig(
        vocab_size=512, hidden_size=512, intermediate_size=2048, num_hidden_layers=16, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


@contextmanager
def limited(extra: int) -> Iterator[None]:
    """Let the process grow by this many bytes."""
    size = psutil.Process().memory_info().vms + extra
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def must_fail(space: WeightSpace, center: Center) -> None:
    """Check that a flat vector of all weights does not fit in the present limit."""
    try:
        torch.cat([center.tensor(slot).reshape(-1) for slot in space])
    except (MemoryError, RuntimeError):
        return
    raise AssertionError("a flat vector of all weights fits: the limit proves nothing")


def main() -> None:
    """Do everything within its limit; print one line for each."""
    model = build()
    space = WeightSpace.of(model)
    center, sphere = Center.of(model, space), Sphere(space)
    dimension, windows = space.dimension, identified(torch.randint(0, 512, (1, 16)))
    assert 4 * dimension > 4 * HEAD_ROOM
    engine = InlineEngine(model, space, Atlas(center, {}, {}))
    (at_w,) = engine.evaluate(ProbePlan.of([At("w")], windows))  # what a first pass allocates once
    print(f"the model: {4 * dimension / 1e6:.0f} MB, the head room: {HEAD_ROOM / 1e6:.0f} MB")

    with limited(HEAD_ROOM):
        must_fail(space, center)
        length = norm(space, center)
        assert math.isclose(dot(space, center, center), length**2, rel_tol=1e-12)
        longer = Ray(center, center, 0.5)
        assert math.isclose(dot(space, center, longer) / (length * norm(space, longer)), 1, rel_tol=1e-6)
        assert math.isclose(distance(space, center, longer), length / 2, rel_tol=1e-5)
        (again,) = engine.evaluate(ProbePlan.of([At("w")], windows))
        assert again == at_w
    print("norms, cosines, distances, a probe at w")

    with limited(HEAD_ROOM + dimension):
        point = rtn(space, center, QuantScheme(4, "absmax"))
        must_fail(space, center)
        parts = combined(part_statistics(space, center, point).values())
        assert math.isclose(parts.distance, norm(space, Difference(center, point)), rel_tol=1e-6)
        assert len(point.fingerprint(space)) == 64
        atlas = Atlas(center, {"q": point}, {})
        found = [
            *InlineEngine(model, space, atlas).evaluate(ProbePlan.of([At("q"), OnSegment("w", "q", 0.5)], windows))
        ]
        assert len({result.total for result in found}) == 2
    print("RTN, its parts, its fingerprint, probes at it and on its segment")
    del point, atlas, parts

    with limited(HEAD_ROOM + 4 * dimension):
        atlas = Atlas(center, {}, {sphere.name: sphere})
        positions = [OnRay(sphere.name, 0, lam) for lam in (LAM, 2 * LAM)]
        there = atlas.vector(positions[0])
        assert math.isclose(distance(space, center, there), LAM, rel_tol=1e-4)
        must_fail(space, center)  # beside the one direction
        found = [*InlineEngine(model, space, atlas).evaluate(ProbePlan.of(positions, windows))]
        assert len({result.total for result in found}) == 2
    print("one direction, probes along its ray")


if __name__ == "__main__":
    main()
