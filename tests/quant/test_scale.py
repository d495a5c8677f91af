import numpy as np
import pytest
import torch

from quant import scale
from quant.center import Center
from quant.errors import PointError
from quant.grid import Grid
from quant.methods.rtn import rtn
from quant.scale import exact_scales, find_grid, histogram_scale, scanned_scales
from quant.scheme import QuantScheme
from quant.space import Slot, WeightSpace, distance
from tests.tiny import ARCHITECTURES

BITS = [2, 3, 4, 6, 8]
SCALES = ["exact", "histogram", "histogram-torch", "absmax", "mse"]


def draw(kind: str, size: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {
        "gaussian": lambda: rng.normal(size=size),
        "heavy": lambda: rng.standard_t(2, size=size),
        "outlier": lambda: np.append(rng.normal(size=size - 1), 60.0),
        "skewed": lambda: rng.exponential(size=size),
        "shifted": lambda: rng.normal(3.0, 0.5, size=size),
        "uniform": lambda: rng.uniform(-1, 1, size=size),
        "lattice": lambda: rng.integers(-3, 4, size=size) * 0.1,
        "sparse": lambda: rng.normal(size=size) * (rng.random(size) < 0.05),
        "single": lambda: np.array([-0.7]),
    }[kind]()
    return values.astype(np.float32)


KINDS = ["gaussian", "heavy", "outlier", "skewed", "shifted", "uniform", "lattice", "sparse", "single"]


def squared_error(weight: np.ndarray, scales: np.ndarray, qmax: int) -> np.ndarray:
    """‖Q_s(w) − w‖² by definition, in float64, for each scale."""
    w, s = weight.astype(np.float64), np.asarray(scales, dtype=np.float64)[:, None]
    return np.square(np.clip(np.round(w / s), -qmax, qmax) * s - w).sum(1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_exact_is_never_beaten_by_a_dense_scan(kind: str, bits: int) -> None:
    weight, qmax = draw(kind), 2 ** (bits - 1) - 1
    top = np.abs(weight).max()
    scan = np.concatenate([np.linspace(top / 20000, top, 20000), np.geomspace(top / 1e4, 2 * top, 5000)])
    best = min(squared_error(weight, part, qmax).min() for part in np.array_split(scan, 50))
    found = squared_error(weight, exact_scales(torch.from_numpy(weight)[None], qmax).numpy(), qmax)[0]
    assert found <= best * (1 + 1e-9) + 1e-12 * float(np.square(weight).sum())


@pytest.mark.parametrize(("bits", "size"), [(2, 64), (3, 64), (4, 64), (4, 128)])
@pytest.mark.parametrize("kind", ["gaussian", "heavy", "uniform"])
def test_a_scan_is_within_a_thousandth_of_exact_and_no_row_is_worse_than_unclipped(
    kind: str, bits: int, size: int
) -> None:
    rows, qmax = torch.from_numpy(draw(kind, 400 * size)).reshape(400, size), 2 ** (bits - 1) - 1

    def errors(scales: torch.Tensor) -> np.ndarray:
        each = zip(rows.numpy(), scales.double().numpy(), strict=True)
        return np.array([squared_error(row, np.array([scale]), qmax)[0] for row, scale in each])

    scanned, exact = errors(scanned_scales(rows, qmax)), errors(exact_scales(rows, qmax))
    assert exact.sum() <= scanned.sum() * (1 + 1e-6)
    assert scanned.sum() <= 1.001 * exact.sum()
    assert (scanned <= errors(rows.abs().amax(1) / qmax) * (1 + 1e-5)).all()


@pytest.mark.parametrize("bits", BITS)
def test_rows_searched_together_have_the_scales_of_single_rows(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.stack([torch.from_numpy(draw(kind)) for kind in KINDS if len(draw(kind)) == 300] + [torch.zeros(300)])
    monkeypatch.setattr(scale, "_CELLS", 3 * 16 * 128 * (2 ** (bits - 1) - 1))  # three rows at a time
    together = exact_scales(rows, 2 ** (bits - 1) - 1)
    alone = torch.cat([exact_scales(row[None], 2 ** (bits - 1) - 1) for row in rows])
    assert torch.equal(together, alone)
    assert float(together[-1]) == 0


@pytest.mark.parametrize(
    ("bits", "granularity"), [*((bits, "tensor") for bits in BITS), (2, "channel"), (4, "channel")]
)
def test_rounding_at_the_exact_scale_is_orthogonal_to_its_error(bits: int, granularity: str) -> None:
    """A minimum over s of ‖s·q − w‖² has ⟨q, s·q − w⟩ = 0: the best rounding shrinks the weights."""
    model = ARCHITECTURES["gpt2"]()
    space = WeightSpace.of(model)
    center = Center.of(model, space)
    point = rtn(space, center, QuantScheme(bits, "exact", granularity))
    for slot in space:
        rounded, weight = point.tensor(slot).double(), center.tensor(slot).double()
        assert abs(float((rounded * (rounded - weight)).sum())) < 1e-6 * float(weight.square().sum())
    other = rtn(space, center, QuantScheme(bits, "absmax", granularity))
    assert distance(space, center, point) <= distance(space, center, other)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["gaussian", "heavy", "outlier", "skewed", "shifted", "uniform"])
def test_histogram_torch_is_torchs_observer(kind: str, bits: int) -> None:
    from torch.ao.quantization import HistogramObserver

    qmax = 2 ** (bits - 1) - 1
    for seed, size in ((0, 300), (1, 40_000)):
        weight = draw(kind, size, seed)
        observer = HistogramObserver(
            dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, quant_min=-qmax, quant_max=qmax
        )
        observer(torch.from_numpy(weight))
        reference = float(observer.calculate_qparams()[0])
        assert histogram_scale(weight, qmax, cells=256) == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "ratios", "tolerance"),
    [
        ("histogram-torch", {8: 1.04, 6: 1.24, 4: 1.66, 3: 2.1, 2: 3.3}, 0.05),
        ("histogram", {8: 1.04, 6: 1.07, 4: 1.4, 3: 1.8, 2: 2.9}, 0.1),
    ],
)
def test_how_far_the_observers_are_from_the_optimum_on_a_gaussian(
    kind: str, ratios: dict[int, float], tolerance: float
) -> None:
    """Figures of one draw; they move by some percent, as the greedy search stops at the noise of a tail."""
    weight = torch.from_numpy(draw("gaussian", 1_000_000)).reshape(1000, 1000)
    slot = Slot("w", (1000, 1000), False, 0, 0)
    for bits, expected in ratios.items():
        ratio = float(
            find_grid(slot, weight, QuantScheme(bits, kind)).scale / find_grid(slot, weight, QuantScheme(bits)).scale
        )
        assert ratio == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("kind", SCALES)
def test_channels_of_conv1d_are_those_of_the_transposed_linear(kind: str) -> None:
    weight = torch.from_numpy(draw("heavy", 12 * 40)).reshape(12, 40)
    scheme = QuantScheme(4, kind, "channel")
    linear = find_grid(Slot("w", (12, 40), False, 0, 0), weight, scheme).scale
    conv1d = find_grid(Slot("w", (40, 12), True, 0, 0), weight.T.contiguous(), scheme).scale
    assert linear.shape == (12, 1)
    assert torch.equal(linear.T, conv1d)
    alone = find_grid(Slot("w", (1, 40), False, 0, 0), weight[5:6], QuantScheme(4, kind)).scale
    assert float(linear[5, 0]) == float(alone)
    assert len(set(linear.flatten().tolist())) == 12


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_absmax_clips_nothing_and_uses_the_whole_range(bits: int, sign: int) -> None:
    weight, high = torch.from_numpy(draw("heavy")), 2 ** (bits - 1) - 1
    weight[0] = sign * 2 * weight.abs().max()  # the largest is negative once, and positive once
    part = find_grid(Slot("w", (1, 300), False, 0, 0), weight[None], QuantScheme(bits, "absmax")).quantize(weight[None])
    assert float(weight.abs().max()) <= float(part.scale) * high * (1 + 1e-6)
    assert int(part.codes[0, 0]) == sign * high
    # Half a step, and the float32 rounding of the scale, of the quotient and of the product.
    bound = float(part.scale) / 2 + 3 * 2**-24 * float(weight.abs().max())
    assert float((part.dequantize() - weight).abs().max()) <= bound


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_tensor_of_zeros_gets_a_positive_scale_and_zero_codes(kind: str, granularity: str) -> None:
    weight = torch.zeros(4, 6)
    scale = find_grid(Slot("w", (4, 6), False, 0, 0), weight, QuantScheme(2, kind, granularity)).scale
    assert bool((scale > 0).all())
    part = Grid(scale, -1, 1).quantize(weight)
    assert int(part.codes.abs().sum()) == 0
    assert torch.equal(part.dequantize(), weight)


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(kind: str, value: float) -> None:
    weight = torch.ones(4, 6)
    weight[2, 3] = value
    with pytest.raises(PointError, match=r"layers\.3\.up\.weight"):
        find_grid(Slot("layers.3.up.weight", (4, 6), False, 0, 0), weight, QuantScheme(4, kind))


def test_half_precision_weights_are_searched_in_float32() -> None:
    weight = torch.from_numpy(draw("gaussian", 600)).reshape(20, 30).bfloat16()
    slot = Slot("w", (20, 30), False, 0, 0)
    scale = find_grid(slot, weight, QuantScheme(4)).scale
    assert scale.dtype == torch.float32
    assert torch.equal(scale, find_grid(slot, weight.float(), QuantScheme(4)).scale)


@pytest.mark.parametrize("kind", SCALES)
def test_a_groups_scale_is_that_of_the_group_alone(kind: str) -> None:
    weight = torch.from_numpy(draw("heavy", 6 * 40)).reshape(6, 40)
    scheme = QuantScheme(4, kind, "group:16")
    linear = find_grid(Slot("w", (6, 40), False, 0, 0), weight, scheme).scale
    conv1d = find_grid(Slot("w", (40, 6), True, 0, 0), weight.T.contiguous(), scheme).scale
    assert torch.equal(linear, conv1d.T)
    for group, part in enumerate((weight[:, :16], weight[:, 16:32], weight[:, 32:])):
        slot = Slot("w", (6, part.shape[1]), False, 0, 0)
        alone = find_grid(slot, part, QuantScheme(4, kind, "channel")).scale
        assert torch.equal(linear[:, group], alone[:, 0])


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group:16"])
def test_an_asymmetric_grid_spans_least_to_greatest(bits: int, granularity: str) -> None:
    """The formulas of GPTQ's quantizer, where codes begin at 0: xmin ≤ 0 ≤ xmax, zero = round(−xmin / scale)."""
    weight = torch.from_numpy(draw("shifted", 6 * 40)).reshape(6, 40)
    grid = find_grid(Slot("w", (6, 40), False, 0, 0), weight, QuantScheme(bits, "absmax", granularity, False))
    size = {"tensor": 240, "channel": 40, "group:16": 16}[granularity]
    pieces = [weight.reshape(1, -1)] if size == 240 else list(weight.split(size, dim=1))
    for group, piece in enumerate(pieces):
        for row, values in enumerate(piece.double()):
            least, greatest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
            scale = (greatest - least) / (2**bits - 1)
            assert float(grid.scale[row, group]) == pytest.approx(scale, rel=1e-6)
            assert grid.zero is not None
            assert int(grid.zero[row, group]) + 2 ** (bits - 1) == round(-least / scale)
    error = (grid.quantize(weight).dequantize() - weight).abs()
    assert float((error / grid.nearest(weight).sub(weight).abs().max()).max()) <= 1
    assert float(error.max()) <= float(grid.scale.max()) * (1 + 1e-6)  # half a step, and half for the zero's rounding
