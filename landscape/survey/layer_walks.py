"""Measure the layer-wise errors of a survey's points: one walk through the model per split, for all that lack them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from landscape.probing.layer_rows import LayerKey, LayerRow
from landscape.session.forecast import Walks
from landscape.session.session import Session
from landscape.session.subject import TEST_SPLIT
from quant.errors import PointError
from quant.hashing import token_hash
from quant.methods.block_stream import walk
from quant.methods.hessians import SharedHessian
from quant.methods.layer_error import layer_errors
from quant.point import WeightPoint

TRAIN_SPLIT = "train"
# Costs in forward passes of one window, as those of methods are.
WALK_PER_WINDOW = 2.0  # the pass, and the Gram matrices of the inputs
DOUBLE = 2.0  # a product in float64 takes so many times that of float32 on a CPU


class LayerWalks:
    """Layer-wise errors on full-precision inputs, on the training windows that calibrate and on the test windows.

    Where no method of the request calibrates, the training windows are those that the losses are probed on.
    """

    def __init__(self, session: Session) -> None:
        """Bind to a session, and read the errors that its store holds."""
        self._session, self._subject = session, session.subject
        calibration = session.subject.calibration
        probed = [window.tokens for window in session.subject.windows[TRAIN_SPLIT]]
        train = calibration.windows if len(calibration.windows) else torch.stack(probed)
        self.windows: Mapping[str, Tensor] = {TRAIN_SPLIT: train, TEST_SPLIT: calibration.test}
        """(n, L) token ids by split."""
        self._hashes = {split: token_hash(rows) for split, rows in self.windows.items()}
        self._known = session.store.layers.read()

    @property
    def settings(self) -> dict[str, object]:
        """Windows of the errors, for the record of a run."""
        counts = (f"{len(rows)} {split} windows" for split, rows in self.windows.items())
        return {"layer-wise errors": ", ".join(counts)}

    def errors(self, label: str) -> dict[str, dict[str, float]]:
        """Return the known errors of a point by matrix and split; a matrix that saw no token of a split has none."""
        found: dict[str, dict[str, float]] = {slot.name: {} for slot in self._subject.space}
        for split in self.windows:
            for matrix, by_split in found.items():
                row = self._known.get(self._key(label, matrix, split))
                if row is not None and row.tokens:
                    by_split[split] = row.error
        return found

    def ahead(self, labels: Collection[str], new: int) -> Walks:
        """Forecast the walks.

        Args:
            labels: Labels of the points made so far.
            new: Number of points to make.
        """
        work, points, windows = 0.0, 0, 0
        for split in self.windows:
            count = len(self._lacking(split, labels)) + new
            work += self._work(split, count)
            points += count
            windows = max(windows, len(self.windows[split])) if count else windows
        return Walks(work, windows, points * len(self._subject.space.slots))

    def measure(self, points: Mapping[str, WeightPoint]) -> None:
        """Measure and store the errors that the store lacks, of points by their labels; the model holds w.

        Where a model cannot be walked through, the errors are not available, and a warning says why.
        """
        self._known.update(self._session.store.layers.read())  # another process may have added some
        for split in self.windows:
            lacking = {label: points[label] for label in self._lacking(split, points)}
            if lacking:
                self._walk(split, lacking)

    def _walk(self, split: str, points: Mapping[str, WeightPoint]) -> None:
        self._session.store.layers.check_writable()
        session, subject, tokens = self._session, self._subject, dict[str, int]()
        session.stage(f"measuring layer-wise errors on the {split} windows")
        session.directions.release()  # the Hessians take memory of their own
        work = self._work(split, len(points))

        def noted() -> Iterator[SharedHessian]:
            for shared in walk(subject.model, subject.space, self.windows[split]):
                yield shared
                tokens.update((slot.name, shared.tokens) for slot in shared.slots)
                size = sum(slot.size for slot in shared.slots)
                session.progress.advance(work * size / subject.space.dimension)

        try:
            errors = layer_errors(subject.center, points, noted())
        except PointError as error:
            session.progress.warn(f"layer-wise errors on the {split} windows are not available: {error}")
            return
        rows = [
            LayerRow(self._key(label, matrix, split), errors[label].get(matrix, math.nan), count)
            for label in points
            for matrix, count in tokens.items()
        ]
        session.store.layers.commit(rows, session.runner.provenance)
        self._known.update((row.key, row) for row in rows)

    def _lacking(self, split: str, labels: Collection[str]) -> list[str]:
        """Return the labels of points without an error of some matrix, each once."""
        names = [slot.name for slot in self._subject.space]
        return [
            label
            for label in dict.fromkeys(labels)
            if not all(self._key(label, name, split) in self._known for name in names)
        ]

    def _key(self, label: str, matrix: str, split: str) -> LayerKey:
        return LayerKey(label, matrix, self._hashes[split])

    def _work(self, split: str, points: int) -> float:
        """Return the work on one split in forward passes of one window; 0 without points.

        The error of a matrix (out, in) takes out · in² multiplications in float64, a window of L tokens L · out · in.
        """
        if not points:
            return 0.0
        rows, space = self.windows[split], self._subject.space
        per_point = DOUBLE * sum(slot.size * slot.inputs for slot in space) / (rows.shape[1] * space.dimension)
        return WALK_PER_WINDOW * len(rows) + per_point * points
