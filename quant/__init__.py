"""Place quantized language models in their weight space: round them, train them, and measure their likelihood.

    from quant import Center, QuantScheme, load_checkpoint, rtn
    checkpoint = load_checkpoint("opt-nano")
    point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), QuantScheme(bits=4))

Names are imported when they are first used, so that a request can be built and checked without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names, for type checkers
    from quant.center import Center as Center
    from quant.checkpoints.checkpoint import Checkpoint as Checkpoint
    from quant.checkpoints.checkpoint import load_checkpoint as load_checkpoint
    from quant.checkpoints.export import export_point as export_point
    from quant.corpora.corpus import Corpus as Corpus
    from quant.corpora.corpus import load_corpus as load_corpus
    from quant.errors import ToolkitError as ToolkitError
    from quant.external.load import load_external as load_external
    from quant.grid import GridTensor as GridTensor
    from quant.grid import fake_quantize as fake_quantize
    from quant.methods.awq import awq as awq
    from quant.methods.gptq import gptq as gptq
    from quant.methods.options import AWQOptions as AWQOptions
    from quant.methods.options import GPTQOptions as GPTQOptions
    from quant.methods.options import SignRoundOptions as SignRoundOptions
    from quant.methods.options import TrainingOptions as TrainingOptions
    from quant.methods.qaft import finetune as finetune
    from quant.methods.qaft import qaft as qaft
    from quant.methods.rtn import rtn as rtn
    from quant.methods.signround import signround as signround
    from quant.nll import mean_nll as mean_nll
    from quant.nll import window_nll as window_nll
    from quant.point import WeightPoint as WeightPoint
    from quant.scheme import QuantScheme as QuantScheme
    from quant.space import WeightSpace as WeightSpace
    from quant.space import distance as distance

_HOMES = {
    "AWQOptions": "quant.methods.options",
    "Center": "quant.center",
    "Checkpoint": "quant.checkpoints.checkpoint",
    "Corpus": "quant.corpora.corpus",
    "GPTQOptions": "quant.methods.options",
    "GridTensor": "quant.grid",
    "QuantScheme": "quant.scheme",
    "SignRoundOptions": "quant.methods.options",
    "ToolkitError": "quant.errors",
    "TrainingOptions": "quant.methods.options",
    "WeightPoint": "quant.point",
    "WeightSpace": "quant.space",
    "awq": "quant.methods.awq",
    "distance": "quant.space",
    "export_point": "quant.checkpoints.export",
    "fake_quantize": "quant.grid",
    "finetune": "quant.methods.qaft",
    "gptq": "quant.methods.gptq",
    "load_checkpoint": "quant.checkpoints.checkpoint",
    "load_corpus": "quant.corpora.corpus",
    "load_external": "quant.external.load",
    "mean_nll": "quant.nll",
    "qaft": "quant.methods.qaft",
    "rtn": "quant.methods.rtn",
    "signround": "quant.methods.signround",
    "window_nll": "quant.nll",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'quant' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
