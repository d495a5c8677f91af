"""Try GPTQ and plain fine-tuning on little data: cheap enough for advice, and points like any other.

GPTQ as it is shipped (act-order with fixed groups, one damping) on 16 windows of 128 tokens takes an eighth of the
token passes of the usual calibration, and agreed with it on whether a limit is kept in 48 of 48 decisions of a pilot. A
fine-tuning of 32 steps bounds from above the loss that a longer one would reach; with windows of 128 tokens it found
0.29 nats of the 0.34 that it found on SmolLM2-135M with 512, at a quarter of the price.
"""

from __future__ import annotations

from dataclasses import replace

from landscape.advice.request import TRIAL_CALIBRATION, TRIAL_TRAINING, AdviceRequest
from landscape.probing.plan import NotEvaluated
from landscape.session.memory import check_run, making_need
from landscape.session.point_maker import PointMaker, point_label
from landscape.session.point_methods import GPTQ_PER_WINDOW, GPTQ_SOLVER, QAFT_PER_EXAMPLE
from landscape.session.point_specs import FreeSpec, MadeSpec, PointSpec
from landscape.session.session import Session
from quant.methods.options import PAPER_GPTQ, GPTQOptions
from quant.point import WeightPoint
from quant.scheme import QuantScheme

TRIAL_TOKENS = 128
"""Tokens in each window of the small GPTQ and of the short fine-tuning."""
JUDGING_WINDOWS = 4
"""Validation windows that choose between the start and the end of the short fine-tuning."""
RATE = 1e-4
"""Its learning rate: the larger one that the standard preset tries at 4 bits and more."""
DAMPING = 0.01
"""Damping of GPTQ as it is shipped, in units of mean(diag H)."""
FINETUNED = FreeSpec("w_ft", (8,))


def shipped_gptq(scheme: QuantScheme) -> GPTQOptions:
    """Return the options with which GPTQ is shipped on such a grid; on the paper's, without act-order as there."""
    return GPTQOptions(dampings=(DAMPING,), act_order=scheme.granularity != "tensor")


class Trials:
    """The small points of one model; the store keeps them."""

    def __init__(self, request: AdviceRequest, session: Session) -> None:
        """Bind to a session of the request."""
        self._request, self._session = request, session
        subject = session.subject
        data = subject.calibration
        small = replace(
            data,
            windows=data.windows[:TRIAL_CALIBRATION, :TRIAL_TOKENS],
            training=data.training[:TRIAL_TRAINING, :TRIAL_TOKENS],
            validation=data.validation[:JUDGING_WINDOWS],
        )
        self._subject = replace(subject, calibration=small)
        self.points: dict[str, WeightPoint] = {}
        """The points by their labels."""

    def gptq(self, scheme: QuantScheme) -> str:
        """Make GPTQ's point on a grid from little data, and return its label.

        Raises:
            NotEvaluated: in a rehearsal, if it must be made.
        """
        return self._label(PointSpec("gptq", scheme), shipped_gptq(scheme), self.gptq_work)

    def finetuned(self) -> str:
        """Fine-tune w for 32 steps, and return the label of the point.

        Raises:
            NotEvaluated: in a rehearsal, if it must be made.
            UsageError: if training does not fit in memory.
        """
        return self._label(FINETUNED, PAPER_GPTQ, self.finetuning_work)

    @property
    def gptq_tokens(self) -> int:
        """Number of tokens that calibrate the small GPTQ."""
        return int(self._subject.calibration.windows.numel())

    @property
    def gptq_work(self) -> float:
        """Work of the small GPTQ, in forward passes of a window of the run."""
        dampings = len(PAPER_GPTQ.dampings)
        return GPTQ_PER_WINDOW * self.gptq_tokens / self._session.subject.seq_len + GPTQ_SOLVER / dampings

    @property
    def finetuning_work(self) -> float:
        """Work of the short fine-tuning, in forward passes of a window of the run."""
        trained = self._subject.calibration.training.numel() / self._session.subject.seq_len
        return QAFT_PER_EXAMPLE * trained + 2.0 * JUDGING_WINDOWS

    def _label(self, spec: MadeSpec, options: GPTQOptions, work: float) -> str:
        session = self._session
        preset = replace(self._request.preset, qaft_epochs=1, rates=dict.fromkeys(self._request.preset.rates, (RATE,)))
        maker = PointMaker(self._subject, session.store, preset, self._request.seed, options)
        point = maker.find(spec)
        if point is None:
            if session.runner.rehearsing:
                raise NotEvaluated(spec.name)
            check_run(making_need(self._subject, spec, TRIAL_CALIBRATION), self._subject.checkpoint)
            session.stage(f"trying {spec.name} on little data")
            session.directions.release()  # making a point takes memory of its own
            point = maker.make(spec, lambda share: session.progress.advance(share * work))
        label = point_label(point, session.subject.space)
        self.points[label] = point
        return label
