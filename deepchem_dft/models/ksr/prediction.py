"""Prediction of a KSRModel: every molecule from scratch, in order; and its files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from torch import nn

from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import Checkpointed, must_be_finite, plain_copy
from deepchem_dft.fitting.options import tell_unconverged
from deepchem_dft.fitting.ordering import refuse_transformers, unwrap
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.trajectory import Trajectory
from deepchem_dft.models.ksr.progress import KSRProgress


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


class KSRFiles(Checkpointed):
    """The part of ``KSRModel`` that reads and writes files; its methods belong to that class."""

    def _saved(self) -> dict[str, Any]:
        must_be_finite(self.functional.state_dict())
        return {"progress": self.progress.to_dict(), "config": plain_copy(self.config)}

    def _take(self, content: dict[str, Any]) -> None:
        self.progress = KSRProgress.from_dict(content["progress"])

    def _put_back(self, parameters: dict[str, Any]) -> None:
        self.functional.load_state_dict(parameters)

    @classmethod
    def load(cls, source: str | Path, functional: nn.Module | None = None, **options: Any) -> Any:
        """Rebuild a model from its checkpoint alone.

        Parameters
        ----------
        source : str or Path
            Checkpoint file, or folder of a model.
        functional : nn.Module, optional
            The network or functional, needed if it was the user's own.
        **options
            Constructor arguments to change.

        Raises
        ------
        CheckpointError
            If the file is unusable, or a part it does not hold was not given.
        """
        given = {} if functional is None else {"functional": functional}
        return super().load(source, **given, **options)

    @classmethod
    def _arguments(cls, config: dict[str, Any], options: dict[str, Any], path: str) -> dict[str, Any]:
        name, origin, grid = config.pop("xcstr"), config.pop("origin"), config.pop("grid")
        if origin == "functional" and "functional" not in options:
            raise CheckpointError(
                f"{path}: the model was made with a functional of your own, whose code is not in "
                "the file. Remedy: pass functional=."
            )
        return {"functional": name, **config, "grid": Grid(*grid), **options}
