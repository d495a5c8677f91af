"""Weight vectors of quantized language models: where they live, how they are rounded, what they cost in likelihood.

from quant import Center, QuantScheme, load_checkpoint, rtn
checkpoint = load_checkpoint("opt-nano")
point = rtn(checkpoint.space, Center.of(checkpoint.model, checkpoint.space), QuantScheme(bits=4))
"""

from quant.center import Center
from quant.checkpoints.checkpoint import Checkpoint, load_checkpoint
from quant.corpora.corpus import Corpus, load_corpus
from quant.errors import ToolkitError
from quant.export import export_point
from quant.external import load_external
from quant.grid import GridTensor, QuantScheme, fake_quantize
from quant.methods.awq import AWQOptions, awq
from quant.methods.gptq import GPTQOptions, gptq
from quant.methods.qaft import finetune, qaft
from quant.methods.rtn import rtn
from quant.methods.signround import SignRoundOptions, signround
from quant.methods.training import TrainingOptions
from quant.nll import mean_nll, window_nll
from quant.point import WeightPoint
from quant.space import WeightSpace, distance

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
