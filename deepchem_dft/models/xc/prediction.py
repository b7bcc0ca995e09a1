"""Prediction and evaluation of an XCModel: every entry from scratch, in the data set's order."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.ordering import batches, epoch_order, refuse_transformers, unwrap
from deepchem_dft.models.xc.progress import Totals
from deepchem_dft.models.xc.samples import check_entries, check_same_entries, read_samples


class Predicting:
    """The part of ``XCModel`` that predicts; its methods belong to that class."""

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterable[tuple[list, list, list]]:
        """Yield batches ``([X], [y], [w])``; never padded, whatever ``pad_batches`` says."""
        X, y, w = dataset.X, dataset.y, dataset.w
        for epoch in range(epochs):
            number = self.progress.epoch + epoch
            order = epoch_order(len(X), self.seed, number, deterministic or mode != "fit")
            for rows in batches(order, self.batch_size):
                yield [X[rows]], [y[rows]], [w[rows]]

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        inputs, labels, weights = batch
        # float64 to the end: DeepChem's base class would round labels to float32
        labels, weights = (
            [torch.as_tensor(np.asarray(v, dtype=float), device=self.device) for v in part or []]
            for part in (labels, weights)
        )
        return inputs, labels, weights

    def predict(
        self,
        dataset: Dataset,
        transformers: Sequence[Any] = (),
        output_types: Any = None,
        *,
        on_unconverged: str | None = None,
    ) -> np.ndarray:
        """Solve every system of a data set from scratch and return the entries' values.

        Parameters
        ----------
        dataset : Dataset
        transformers : list
            Must not transform labels.
        output_types
            None; for DeepChem's sake.
        on_unconverged : {"raise", "warn", "nan"}, optional
            Default: as given to the constructor.

        Returns
        -------
        ndarray, shape (N, 1), float64
            Hartree for energies, the deviation from the target for ``dm`` and ``dens``; in the
            data set's order. They do not depend on the batch size nor on what was solved before.

        Raises
        ------
        SCFNotConverged
            Naming the entry and the system.
        InputError
            For transformed labels, or entries that cannot be evaluated.
        """
        with self._unconverged(on_unconverged):
            generator = self.default_generator(dataset, mode="predict")
            return self._predict(generator, transformers, False, output_types)

    @contextmanager
    def _unconverged(self, choice: str | None) -> Iterator[None]:
        usual = self.model.on_unconverged
        self.model.on_unconverged = choice or usual
        try:
            yield
        finally:
            self.model.on_unconverged = usual

    def _predict(
        self, generator: Iterable, transformers: Sequence[Any], uncertainty: bool, other: Any
    ) -> np.ndarray:
        refuse_transformers(transformers)
        if uncertainty or other:
            raise InputError(
                "XCModel has one output and no uncertainty",
                field="output_types",
                remedy="use predict(dataset)",
            )
        self._ensure_built()
        self.model.eval()
        entries = [e for inputs, _, _ in generator for e in check_entries(unwrap(inputs))]
        check_same_entries(entries)
        parallel.doing("prediction")
        with torch.no_grad():
            values = self.model.values(entries, on_unconverged=self.model.on_unconverged)
        return values.cpu().numpy()

    def evaluate(
        self, dataset: Dataset, metrics: Any, transformers: Sequence[Any] = (), *args, **kwargs
    ) -> Any:
        """Return the scores of DeepChem metrics on any mixture of entries, as DeepChem does.

        Raises
        ------
        InputError
            If labels were transformed.
        SCFNotConverged
            For an entry that does not converge, whatever ``on_unconverged`` says: a score without
            it would be another score.
        """
        refuse_transformers(transformers)
        read_samples(dataset)
        with self._unconverged("raise"):
            return super().evaluate(dataset, metrics, [], *args, **kwargs)

    def evaluate_generator(
        self, generator: Iterable, metrics: Any, transformers: Sequence[Any] = (), *args, **kwargs
    ) -> Any:
        """Return the scores of DeepChem metrics on batches ``([entries], [labels], [weights])``."""
        refuse_transformers(transformers)
        with self._unconverged("raise"):
            return super().evaluate_generator(generator, metrics, [], *args, **kwargs)

    def evaluate_by_type(self, dataset: Dataset, *, on_unconverged: str | None = None) -> dict[str, float]:
        """Return the mean absolute error per entry type.

        Parameters
        ----------
        dataset : Dataset
        on_unconverged : {"raise", "warn", "nan"}, optional
            With "nan", entries that do not converge are left out.

        Returns
        -------
        dict
            Entry type to kcal/mol for energies, to the mean deviation for ``dm`` and ``dens``.
        """
        samples, totals = read_samples(dataset), Totals()
        prediction = torch.as_tensor(self.predict(dataset, on_unconverged=on_unconverged))
        totals.add(samples.entries, prediction, samples.target)
        return totals.by_type
