import math
import os
import subprocess
import sys
from concurrent.futures import CancelledError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from quant import normals as module
from quant.normals import HOST, made_on, many_normals, normals, philox_key
from quant.philox import philox

ROOT = Path(__file__).parents[2]


def by_hand(count, *key):
    """Box and Muller's formula in float64, word by word, from the definition in ``quant.normals``."""
    half = -(-count // 2)
    words = [int(word) for word in philox(*key).random_raw(half)]
    upper = np.array([word >> 33 for word in words], np.float64)
    lower = np.array([(word & 0xFFFFFFFF) - ((word & 0x80000000) << 1) for word in words], np.float64)
    radius, angle = np.sqrt(-2 * np.log((upper + 0.5) / 2.0**31)), math.pi * lower / 2.0**31
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


# relative to float64: u, ln and √ each round once or twice, θ is off by 2⁻²⁴ of up to π, and so are cos and sin near 0;
# near u = 1 a rounding of u, 2⁻²⁵, moves the radius r by 2⁻²⁵/r, and r is 0 instead of up to 2⁻¹²
def assert_close(found, expected):
    radius = np.hypot(*np.resize(expected, (2, len(expected) // 2)))
    tolerance = 2.0**-22 * (1 + radius) + np.minimum(2.0**-11, 2.0**-24 / radius)
    assert (np.abs(found.numpy().astype(np.float64) - expected) < np.tile(tolerance, 2)).all()


@pytest.mark.parametrize("count", [2, 8, 1000, 100_000])
def test_normals_are_those_of_the_formula_in_float64(count):
    found = normals(count, ("formula", count))
    assert found.dtype == torch.float32
    assert found.shape == (count,)
    assert_close(found, by_hand(count, "formula", count))


def test_known_values_are_the_same_on_every_machine():
    # from the formula in float64, by ``by_hand``: 7 normals of 4 words, and 5 of 3
    assert normals(7, ("a", 1)).tolist() == pytest.approx(KNOWN_A, abs=1e-6)
    assert normals(5, ("direction", 0, 0, "x")).tolist() == pytest.approx(KNOWN_X, abs=1e-6)


KNOWN_A = [
    -1.9322492434, 0.3185580733, -0.3157786789, -0.6292786560, -0.8946290452, 0.1634941586, 0.0465215422,
]  # fmt: skip
KNOWN_X = [-0.4284162392, -1.2846549291, 1.7158558705, 1.9872159099, 0.1129095133]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 4097])
def test_any_count_is_drawn(count):
    found = normals(count, ("count",))
    assert found.numpy().astype(np.float64) == pytest.approx(by_hand(count, "count"), abs=1e-5)


def test_pieces_shares_and_threads_change_no_bit(monkeypatch):
    streams = [(40_001, ("big",)), (3, ("small",)), (1, ("one",)), (9_000, ("more",))]
    whole = many_normals(streams)
    monkeypatch.setattr(module, "_SHARE", 2_500)
    monkeypatch.setattr(module, "_PIECE", 999)
    for threads in (1, 3):
        assert all(map(torch.equal, whole, many_normals(streams, threads)))
    assert torch.equal(whole[3], normals(9_000, ("more",)))


def test_a_stream_that_is_no_longer_wanted_ends():
    with pytest.raises(CancelledError):
        many_normals([(10, ("stopped",))], stopped=lambda: True)
    answers = iter([False, True])
    with pytest.raises(CancelledError):
        many_normals([(10, ("first",)), (10, ("second",))], stopped=lambda: next(answers))


class Words:
    """A stream of given words in place of Philox."""

    def __init__(self, words):
        self.words = np.array(words, np.uint64)

    def advance(self, blocks):
        assert blocks == 0
        return self

    def random_raw(self, count):
        return self.words[:count].copy()


def test_the_extreme_words_give_finite_normals(monkeypatch):
    top, half_turn = (1 << 64) - (1 << 33), 1 << 31
    monkeypatch.setattr(module, "philox", lambda *key: Words([0, top, 1 << 33, half_turn]))
    cosines, sines = normals(8, ("any",)).view(2, 4).double().numpy()
    longest, next_longest = (math.sqrt(-2 * math.log(u / 2**31)) for u in (0.5, 1.5))
    assert longest == pytest.approx(math.sqrt(64 * math.log(2)))
    assert longest > 6.66
    assert cosines == pytest.approx([longest, 0, next_longest, -longest], abs=1e-6)
    assert np.abs(sines).max() < 1e-5


# ---- distribution ---------------------------------------------------------------------------------------------------

MANY = 4_000_000


@pytest.fixture(scope="module")
def halves():
    return normals(MANY, ("distribution",)).view(2, -1).double().numpy()


@pytest.mark.parametrize("half", [0, 1])
def test_moments_and_quantiles_are_gaussian(halves, half):
    x, count = halves[half], MANY // 2
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96), 6: (15, 10170)}.items():
        assert abs((x**power).mean() - mean) < 5 * math.sqrt(variance / count)
    assert stats.kstest(x, "norm").pvalue > 1e-6


def test_the_tails_are_those_of_a_gaussian(halves):
    for limit in (3, 4, 4.5):
        expected = MANY * 2 * stats.norm.sf(limit)
        assert abs((np.abs(halves) > limit).sum() - expected) < 5 * math.sqrt(expected)


def test_the_halves_and_neighbours_are_independent(halves):
    cosines, sines = halves
    pairs = [(cosines, sines), (cosines[1:], cosines[:-1]), (sines[1:], cosines[:-1]), (cosines[4:], cosines[:-4])]
    for a, b in pairs:
        for f in (np.asarray, np.square, np.abs, np.sign):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 5 / math.sqrt(len(a))
    radius, angle = np.hypot(*halves), np.arctan2(sines, cosines)
    assert stats.kstest(radius**2 / 2, "expon").pvalue > 1e-6
    assert stats.kstest(angle / (2 * math.pi) + 0.5, "uniform").pvalue > 1e-6


# ---- devices --------------------------------------------------------------------------------------------------------

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def in_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_host_needs_no_kernel():
    assert not made_on(HOST)
    code = "import sys; from quant.normals import *; normals(9, ('a',)); print('quant.normals_triton' in sys.modules)"
    assert in_python(code) == "False\n"


@needs_triton
def test_the_kernel_draws_the_normals_of_the_host(tmp_path, monkeypatch):
    keys = [philox_key(("a", 1)), 12345, 1 << 127 | 1 << 63 | 5]  # the last with the upper bit of both halves
    cases = [(count, key) for count in (1, 2, 1023, 5001) for key in keys]
    code = f"""
import numpy as np, torch
from quant.normals_triton import device_normals
for index, (count, key) in enumerate({cases}):
    np.save(f"{tmp_path}/{{index}}.npy", device_normals(count, key, torch.device("cpu")).numpy())
"""
    in_python(code, TRITON_INTERPRET="1")
    for index, (count, key) in enumerate(cases):
        for place in (module, sys.modules[__name__]):
            monkeypatch.setattr(place, "philox", lambda *_, key=key: np.random.Philox(key=key))
        found = np.load(tmp_path / f"{index}.npy")
        assert found == pytest.approx(normals(count, ("any",)).numpy(), rel=1e-6, abs=1e-6)
        assert found.astype(np.float64) == pytest.approx(by_hand(count, "any"), rel=1e-5, abs=1e-5)


@needs_triton
def test_the_kernel_is_compiled_without_approximations(tmp_path):
    code = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from quant.normals_triton import fill_normals
signature = dict(out="*fp32", count="i64", half="i64", low="i64", high="i64", WORDS="constexpr", ROUNDS="constexpr")
source = ASTSource(fn=fill_normals, signature=signature, constexprs={"WORDS": 1024, "ROUNDS": 10})
print(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"])
"""
    ptx = in_python(code, TRITON_CACHE_DIR=str(tmp_path))
    assert "mul.hi.u64" in ptx
    assert "sqrt.rn" in ptx
    assert "approx" not in ptx
