"""Weight vectors of quantized language models: where they live, how they are rounded, what they cost in likelihood.

from quant import Center, QuantScheme, load_checkpoint, rtn
checkpoint = load_checkpoint("opt-nano")
point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), QuantScheme(bits=4))
"""

from quant.awq import AWQOptions, awq
from quant.center import Center
from quant.checkpoint import Checkpoint, load_checkpoint
from quant.corpus import Corpus, load_corpus
from quant.errors import ToolkitError
from quant.export import export_point
from quant.external import load_external
from quant.gptq import GPTQOptions, gptq
from quant.grid import GridTensor, QuantScheme, fake_quantize
from quant.nll import mean_nll, window_nll
from quant.point import WeightPoint
from quant.qaft import finetune, qaft
from quant.rtn import rtn
from quant.signround import SignRoundOptions, signround
from quant.space import WeightSpace, distance
from quant.training import TrainingOptions

__all__ = [
    "AWQOptions",
    "Center",
    "Checkpoint",
    "Corpus",
    "GPTQOptions",
    "GridTensor",
    "QuantScheme",
    "SignRoundOptions",
    "ToolkitError",
    "TrainingOptions",
    "WeightPoint",
    "WeightSpace",
    "awq",
    "distance",
    "export_point",
    "fake_quantize",
    "finetune",
    "gptq",
    "load_checkpoint",
    "load_corpus",
    "load_external",
    "mean_nll",
    "qaft",
    "rtn",
    "signround",
    "window_nll",
]
