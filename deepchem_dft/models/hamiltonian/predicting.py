"""The part of a HamiltonianModel that predicts, and compares with what is known."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.options import tell_unconverged
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models.hamiltonian.network import HamiltonianModule
from deepchem_dft.models.hamiltonian.prediction import (
    METRICS,
    HamiltonianPrediction,
    HamiltonianScore,
    mean_scores,
    score,
)
from deepchem_dft.models.hamiltonian.samples import Batch, Preparation, Prepared

Data: TypeAlias = Dataset | Iterable[HamiltonianSample]


class Predicting:
    """Prediction and evaluation by whatever predicts Kohn-Sham matrices."""

    def _all(self, data: Data, label: bool) -> list[HamiltonianPrediction]:
        """Predict all; with ``label`` a sample must have a Hamiltonian."""
        raise NotImplementedError

    def predict_properties(self, data: Data) -> list[HamiltonianPrediction]:
        """Predict Kohn-Sham matrices and what follows from them.

        Parameters
        ----------
        data : Dataset or sequence of HamiltonianSample
            Geometries suffice.

        Returns
        -------
        list of HamiltonianPrediction
            In the order of the data. Orbital energies and gap (Hartree), coefficients, density
            matrix and dipole moment (e Bohr) are computed when they are asked for.

        Raises
        ------
        InputError
            Naming the entry that is not for this model, and for a model that was never trained.
        SCFNotConverged
            If a fixed point was not found and ``on_unconverged`` is "raise".
        """
        return self._all(data, False)

    def predict(
        self, dataset: Data, transformers: Sequence = (), output_types: Any = None
    ) -> list[np.ndarray]:
        """Return the Kohn-Sham matrices, (nao, nao) in Hartree each, in the order of the data."""
        if transformers or output_types is not None:
            raise InputError(
                "matrices are predicted as they are, in Hartree", field="transformers", remedy="leave it out"
            )
        return [found.hamiltonian for found in self.predict_properties(dataset)]

    def predict_on_batch(self, X: Any, transformers: Sequence = ()) -> list[np.ndarray]:
        """Return the Kohn-Sham matrices of samples."""
        return self.predict(list(X), transformers)

    def predict_on_generator(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported.

        Raises
        ------
        InputError
        """
        raise InputError(
            f"{type(self).__name__} predicts data sets and lists of samples",
            remedy="use predict or predict_properties",
        )

    def scores(self, data: Data, energy: bool = False) -> list[HamiltonianScore]:
        """Compare predictions with the Hamiltonians of the data, molecule by molecule.

        Parameters
        ----------
        data : Dataset or sequence of HamiltonianSample
        energy : bool
            Also compare total energies of the density matrices (two Kohn-Sham matrices each).
        """
        return [score(found, energy) for found in self._all(data, True)]

    def evaluate(
        self, dataset: Dataset, metrics: Any = None, transformers: Sequence = (), **kwargs: Any
    ) -> dict[str, float]:
        """Return mean errors, energies in microhartree.

        Parameters
        ----------
        dataset : Dataset
        metrics : list of str, dc.metrics.Metric, or a list of the latter; optional
            ``"hamiltonian_mae"``, ``"orbital_mae"`` (of occupied orbital energies),
            ``"coefficient_similarity"``, ``"gap_mae"``, and ``"energy_mae"`` (total energy of the
            density matrix), which takes time. Default: all but the last. DeepChem's metrics are
            given all elements of all matrices, in Hartree.
        transformers
            Must be empty.

        Returns
        -------
        dict
            Also with ``"iterations"`` per molecule and ``"unconverged"``, the share of predictions
            that are not self-consistent.
        """
        if transformers:
            raise InputError("matrices are compared as they are", field="transformers")
        names = [metrics] if isinstance(metrics, str) or hasattr(metrics, "compute_metric") else (metrics)
        if names and any(hasattr(metric, "compute_metric") for metric in names):
            found = self._all(dataset, True)
            y = np.concatenate([one.true.ravel() for one in found])[:, None]
            y_pred = np.concatenate([one.hamiltonian.ravel() for one in found])[:, None]
            return {metric.name: float(metric.compute_metric(y, y_pred, np.ones_like(y))) for metric in names}
        for name in names or ():
            choice(name, tuple(METRICS), "metrics")
        return mean_scores(self.scores(dataset, bool(names) and "energy_mae" in names), names)


class HamiltonianPredicting(Predicting):
    """Prediction by a network; its methods belong to ``HamiltonianModel``."""

    model: HamiltonianModule
    preparation: Preparation
    batch_size: int
    device: torch.device
    tol: float
    on_unconverged: str

    def prepared(self, data: Data, label: bool = False) -> list[Prepared]:
        """Return samples with their graphs, in order."""
        return [self.preparation(sample, name, label) for sample, name in named(data)]

    def predicted(self, prepared: Sequence[Prepared]) -> Iterator[HamiltonianPrediction]:
        """Yield predictions of prepared samples, in order."""
        self.model.eval()
        self.model.search.tol = self.tol
        for start in range(0, len(prepared), self.batch_size):
            batch = Batch.of(list(prepared[start : start + self.batch_size]), self.device)
            with torch.no_grad():
                elements, found = self.model(batch.graph)
                matrices = [m.cpu().numpy() for m in batch.matrices(elements)]
            for row, (sample, matrix) in enumerate(zip(batch.samples, matrices)):
                if found is None:
                    yield HamiltonianPrediction(sample, matrix)
                else:
                    yield HamiltonianPrediction(
                        sample,
                        matrix,
                        found.status[row],
                        float(found.residual[row]),
                        int(found.iterations[row]),
                    )

    def _all(self, data: Data, label: bool) -> list[HamiltonianPrediction]:
        if not bool(self.model.fitted):
            raise InputError(
                "the model has not been trained",
                field="model",
                remedy="use fit, restore or load_from_pretrained first",
            )
        found: list[HamiltonianPrediction] = []
        chunk: list[Prepared] = []
        for sample, name in named(data):
            chunk.append(self.preparation(sample, name, label))
            if len(chunk) == self.batch_size:
                found += self.predicted(chunk)
                chunk = []
        found += self.predicted(chunk)
        bad = [one for one in found if not one.converged]
        if bad:
            text = (
                f"{len(bad)} of {len(found)} predictions are not self-consistent, such as "
                f"{bad[0].name}: {bad[0].status}"
            )
            if tell_unconverged(self.on_unconverged, text, 3):
                for one in bad:
                    one.hamiltonian = np.full_like(one.hamiltonian, np.nan)
        return found

    def guess_scores(self, data: Data, energy: bool = False) -> list[HamiltonianScore]:
        """Return errors of the guess itself: what to compare `scores` with."""
        return [
            score(
                HamiltonianPrediction(one, self.preparation.matrix("guess", one.sample, one.reference)),
                energy,
            )
            for one in self.prepared(data, label=True)
        ]


def named(data: Any) -> Iterator[tuple[HamiltonianSample, str]]:
    """Yield samples and what to call them in messages."""
    if isinstance(data, Dataset):
        for x, _, _, ident in data.itersamples():
            yield x, str(ident)
        return
    for number, sample in enumerate(data):
        yield sample, getattr(sample, "name", "") or str(number)
