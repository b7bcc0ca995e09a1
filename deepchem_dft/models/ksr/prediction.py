"""Prediction of a KSRModel: every molecule from scratch, in the data set's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_dft.fitting.arrays import refuse_transformers, unwrap
from deepchem_dft.fitting.options import tell_unconverged
from deepchem_dft.lattice.trajectory import Trajectory


class KSRPredicting:
    """The part of ``KSRModel`` that predicts; its methods belong to that class."""

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterator[tuple[list, list, list]]:
        """Yield batches ``([X], [y], [w])``; never padded, whatever ``pad_batches`` says."""
        for _ in range(epochs):
            for x, y, w, _ in dataset.iterbatches(self.batch_size, deterministic=True):
                yield [x], [y], [w]

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        inputs, labels, weights = batch
        labels, weights = (
            [torch.as_tensor(np.asarray(v, dtype=float)) for v in part or []] for part in (labels, weights)
        )
        return [list(unwrap(inputs))], labels, weights

    def _predict(self, generator: Any, transformers: Sequence[Any], *args: Any) -> Any:
        refuse_transformers(transformers)
        residuals: list[np.ndarray] = []
        self.network.watch = residuals.append
        try:
            with torch.no_grad():
                result = super()._predict(generator, [], *args)
        finally:
            self.network.watch = None
        self.last_residuals = np.concatenate(residuals) if residuals else np.zeros(0)
        bad = int((self.last_residuals >= self.tol).sum())
        if bad:
            message = (
                f"{bad} of {len(self.last_residuals)} calculations are not self-consistent after "
                f"{self.test_iterations} iterations: the last one moved up to "
                f"{self.last_residuals.max():.2g} electrons. Remedy: raise test_iterations, or "
                "decay towards 1"
            )
            if tell_unconverged(self.on_unconverged, message, 4):
                for part in result if isinstance(result, list) else [result]:
                    part[self.last_residuals >= self.tol] = np.nan
        return result

    def predict_density(self, dataset: Dataset) -> np.ndarray:
        """Return densities, (N, n), electrons per Bohr, of every sample of a data set."""
        return self.predict(dataset, output_types=["density"])[0]

    def trajectory(self, entries: Sequence[Any], iterations: int | None = None) -> Trajectory:
        """Return all iterations of some systems or exact states, without gradients.

        Parameters
        ----------
        entries : sequence of System or ExactState
        iterations : int, optional
            Default: ``test_iterations``.
        """
        entries = list(entries)
        with torch.no_grad():
            return self.network.run(
                self.network.molecules(entries), iterations, self.network.start(entries), test=True
            )

    def _energies(self, entries: Sequence[Any]) -> np.ndarray:
        size = self.batch_size
        parts = [entries[i : i + size] for i in range(0, len(entries), size)]
        with torch.no_grad():
            return np.concatenate(
                [
                    self.network.run(
                        self.network.molecules(part), None, self.network.start(part), last=1, test=True
                    ).energies.numpy()
                    for part in parts
                ]
            )
