"""Compute the layer-wise squared error of a point (Xu et al. 2024, eq. 3 and the lower row of Figure 1).

For a matrix W (out, in) that reads x over n tokens, per token and summed over the outputs::

    error = 1/n Σ ‖ΔW x‖² = ½ tr(ΔW H ΔWᵀ),    H = 2/n Σ x xᵀ

so that the Hessians give the error of any point, and the activations need not be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from quant.grid import channel_view
from quant.hashing import token_hash
from quant.methods.block_stream import walk
from quant.methods.hessians import SharedHessian
from quant.space import Vector, WeightSpace


@dataclass(frozen=True, eq=False)
class LayerHessians:
    """The Hessians of all matrices on full-precision inputs, kept for any number of points.

    They take Σ 4·in² bytes over the distinct inputs: 0.4 GB for SmolLM2-135M.
    """

    shared: tuple[SharedHessian, ...]
    """The Hessians in the order of the walk."""
    tokens: str
    """``token_hash`` of the windows."""

    @classmethod
    def collect(cls, model: nn.Module, space: WeightSpace, windows: Tensor) -> LayerHessians:
        """Collect the Hessians of a model that holds ``w``, on (n, L) token ids. Errors are those of ``walk``."""
        return cls(tuple(walk(model, space, windows)), token_hash(windows))


def layer_error(delta_w: Tensor, hessian: Tensor) -> float:
    """Return 1/n Σ ‖ΔW x‖², the squared output error per token, in float64.

    Args:
        delta_w: Q(W) − W, (out, in).
        hessian: 2/n Σ x xᵀ, (in, in), undamped.
    """
    delta = delta_w.double()
    return 0.5 * float(((delta @ hessian.double()) * delta).sum())


def layer_errors(
    center: Vector, points: Mapping[str, Vector], hessians: Iterable[SharedHessian]
) -> dict[str, dict[str, float]]:
    """Return the layer-wise error ‖Q(W_l)x_l − W_l x_l‖²/n of every matrix at several points.

    Args:
        center: The pretrained weights W.
        points: The weights Q(W), under any keys.
        hessians: Hessians of the inputs x_l: ``LayerHessians.collect(…).shared``, or ``walk(…)`` to hold one block's.

    Returns:
        Squared output error per token, summed over outputs, by the point's key and the slot's name. An expert to which
        no token was routed has none.
    """
    errors: dict[str, dict[str, float]] = {key: {} for key in points}
    for shared in hessians:
        for slot in shared.slots if shared.tokens else ():
            weight = center.tensor(slot).to(shared.hessian)
            for key, point in points.items():
                delta = point.tensor(slot).to(weight) - weight
                errors[key][slot.name] = layer_error(channel_view(slot, delta), shared.hessian)
    return errors
