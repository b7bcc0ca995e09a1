"""HamiltonianPolynomial: matrices of one rigid little molecule, by least squares."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepchem_dft import checkpoint
from deepchem_dft.checks import whole
from deepchem_dft.errors import CheckpointError, InputError
from deepchem_dft.hamiltonian.internal import InternalCoordinates, Polynomial, number_of_terms, turned
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models.hamiltonian.predicting import Data, Predicting, named
from deepchem_dft.models.hamiltonian.prediction import HamiltonianPrediction
from deepchem_dft.models.hamiltonian.samples import Known, check_sample
from deepchem_dft.torchstate import stacklevel, unaffected

#: Degrees that are tried where none is given.
_HIGHEST = 8
#: Coordinates this many times the training data's range from its middle are warned of.
_FAR = 1.5


@unaffected
class HamiltonianPolynomial(Predicting):
    """Predict the converged Kohn-Sham matrix of one molecule with polynomials of its internal coordinates.

    In axes that turn with the molecule, each element of the matrix is a smooth function of 3N - 6
    numbers. Where these are few and stay near their means, a polynomial fitted by least squares, in
    a fraction of a second, is all that is needed; it is what a network must beat. It knows no other
    molecule, no other order of the same atoms, and nothing beyond the range it was fitted on.

    Parameters
    ----------
    degree : int, optional
        In all coordinates together. Default: of degrees up to 8 that the geometries determine, the
        one whose errors of geometries left out of the fit, one at a time, are smallest.
    grid_level : int
        Quadrature of energies and commutators of what is predicted.

    Attributes
    ----------
    polynomial : Polynomial or None
        What was fitted, if anything was: ``degree``, and ``left_out``, the mean absolute error of
        geometries left out, Hartree.

    Raises
    ------
    InputError
        For data of several molecules, too few geometries, molecules on a line (but diatomic ones).

    Examples
    --------
    >>> from dataclasses import replace
    >>> samples = []
    >>> for r in np.linspace(1.2, 1.8, 7):
    ...     bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe", name=f"{r:.1f}")
    ...     samples.append(replace(bare, hamiltonian=Reference(bare).solve().hamiltonian))
    >>> model = HamiltonianPolynomial().fit(samples)
    >>> model.polynomial.degree > 2
    True
    >>> aside = HamiltonianSample([1, 1], [[0, 0, 0], [0, 1.45, 0]], "sto-3g")
    >>> found = model.predict_properties([aside])[0]
    >>> bool(abs(found.hamiltonian - Reference(aside, "pbe").solve().hamiltonian).max() < 1e-4)
    True
    """

    def __init__(self, degree: int | None = None, *, grid_level: int = 3) -> None:
        if degree is not None:
            whole(0, degree=degree)
        self._degree = degree
        #: As a model's: what `deepchem-dft scf --guess` sets the grid of.
        self.preparation = _Quadrature(grid_level)
        self.coordinates: InternalCoordinates | None = None
        self.polynomial: Polynomial | None = None
        self._molecule: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        """What it is for: ``numbers`` (nuclear charges), ``charge``, ``basis``, ``xc``; empty at first."""
        return dict(self._molecule)

    def fit(self, data: Data) -> "HamiltonianPolynomial":
        """Fit to all geometries of the data, and return self.

        Parameters
        ----------
        data : Dataset or sequence of HamiltonianSample
            One molecule in several geometries, its atoms in one order.
        """
        samples = list(named(data))
        if not samples:
            raise InputError("the data set is empty", field="dataset")
        first = samples[0][0]
        molecule: dict[str, Any] = {
            "numbers": first.numbers.tolist(),
            "basis": first.basis,
            "xc": first.xc or "pbe",
            "charge": first.charge,
        }
        self._check(samples, molecule, True)
        positions = np.stack([sample.positions for sample, _ in samples])
        coordinates = InternalCoordinates.of(positions)
        matrices = turned(
            np.stack([sample.hamiltonian for sample, _ in samples]),
            coordinates.axes(positions),
            molecule["numbers"],
            first.basis,
        )
        x, (rows, columns) = coordinates(positions), np.triu_indices(matrices.shape[1])
        self.polynomial = _best(x, matrices[:, rows, columns], self._degree)
        self.coordinates, self._molecule = coordinates, molecule
        return self

    def knows(self, data: Data) -> bool:
        """Return whether all of the data is the molecule that was fitted, its atoms in the same order."""
        try:
            self._check(list(named(data)), self._molecule, False)
        except InputError:
            return False
        return True

    def _check(
        self, samples: Sequence[tuple[HamiltonianSample, str]], molecule: dict[str, Any], label: bool
    ) -> None:
        numbers = molecule["numbers"]
        for sample, name in samples:
            check_sample(sample, name, molecule["basis"], molecule["xc"])
            if sample.numbers.tolist() != numbers or sample.charge != molecule["charge"]:
                raise InputError(
                    f"nuclear charges {sample.numbers.tolist()} and charge {sample.charge}, not {numbers} "
                    f"and {molecule['charge']}",
                    entry=name,
                    field="numbers",
                    remedy="give one molecule, its atoms in one order; HamiltonianModel takes several",
                )
            if sample.nao not in (0, orbital_layout(numbers, molecule["basis"]).nao):
                raise InputError(
                    f"{sample.nao} orbitals are not those of {molecule['basis']}", entry=name, field="basis"
                )
            if label and sample.hamiltonian is None:
                raise InputError(
                    "there is no Hamiltonian to learn from or compare with", entry=name, field="hamiltonian"
                )

    def _all(self, data: Data, label: bool) -> list[HamiltonianPrediction]:
        if self.polynomial is None or self.coordinates is None:
            raise InputError("nothing was fitted", field="model", remedy="use fit or load first")
        samples, molecule = list(named(data)), self._molecule
        if not samples:
            return []
        self._check(samples, molecule, label)
        positions = np.stack([sample.positions for sample, _ in samples])
        x = self.coordinates(positions)
        beyond = self.polynomial.beyond(x)
        if beyond.max() > _FAR:
            worst = int(beyond.argmax())
            warnings.warn(
                f"{samples[worst][1]}: a coordinate is {beyond[worst]:.1f} times as far from the middle of "
                "the training data as that reaches, where a polynomial means nothing. Remedy: fit it to "
                "geometries like this one",
                stacklevel=stacklevel(3),
            )
        nao = orbital_layout(molecule["numbers"], molecule["basis"]).nao
        rows, columns = np.triu_indices(nao)
        own = np.empty((len(x), nao, nao))
        own[:, rows, columns] = own[:, columns, rows] = self.polynomial(x)
        matrices = turned(
            own, self.coordinates.axes(positions).swapaxes(1, 2), molecule["numbers"], molecule["basis"]
        )
        found = []
        for (sample, name), matrix in zip(samples, matrices):
            try:
                reference = Reference(sample, molecule["xc"], self.preparation.grid_level)
            except InputError as error:
                raise error.located(entry=name) from None
            base, true = torch.zeros(nao * nao, dtype=torch.float64), sample.hamiltonian
            known = None if true is None else torch.from_numpy(true).flatten()
            found.append(HamiltonianPrediction(Known(sample, name, base, known, reference), matrix))
        return found

    def save(self, path: str | Path) -> None:
        """Write what was fitted to a file; `load`, and `deepchem-dft scf --guess FILE`, read it."""
        if self.polynomial is None or self.coordinates is None:
            raise InputError("nothing was fitted", field="model", remedy="use fit first")
        fitted = {name: getattr(self.polynomial, name) for name in _ARRAYS}
        content = {
            "molecule": self._molecule,
            "atoms": list(self.coordinates.atoms),
            "grid_level": self.preparation.grid_level,
            "left_out": self.polynomial.left_out,
            **{name: torch.from_numpy(array) for name, array in fitted.items()},
        }
        checkpoint.write(path, {_KEY: content})

    @staticmethod
    def wrote(path: str | Path) -> bool:
        """Return whether a file is one of `save`; it must be a checkpoint of some kind."""
        return _KEY in checkpoint.read(path)

    @classmethod
    def load(cls, path: str | Path) -> "HamiltonianPolynomial":
        """Read what `save` has written.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or another kind of file.
        """
        content = checkpoint.read(path).get(_KEY)
        if content is None:
            raise CheckpointError(f"{path}: the checkpoint is not of a HamiltonianPolynomial")
        with checkpoint.understood(path):
            found = cls(grid_level=int(content["grid_level"]))
            arrays = {name: content[name].numpy() for name in _ARRAYS}
            found.polynomial = Polynomial(**arrays, left_out=float(content["left_out"]))
            found.coordinates = InternalCoordinates(tuple(int(atom) for atom in content["atoms"]))
            found._molecule = {**content["molecule"]}
            found._degree = found.polynomial.degree
            return found


_KEY = "hamiltonian_polynomial"
_ARRAYS = ("centre", "half", "powers", "coefficients")


class _Quadrature:
    """What is asked of a model's preparation."""

    def __init__(self, grid_level: int) -> None:
        self.grid_level = grid_level


def _best(x: np.ndarray, y: np.ndarray, degree: int | None) -> Polynomial:
    """Fit, in the degree given or that with the smallest errors of samples left out."""
    if degree is not None:
        return Polynomial.fit(x, y, degree)
    found = [Polynomial.fit(x, y, 0)]
    for d in range(1, _HIGHEST + 1):
        if number_of_terms(x.shape[1], d) >= len(x):
            break
        try:
            found.append(Polynomial.fit(x, y, d))
        except InputError:  # geometries on a line or the like
            break
    return min(found, key=lambda one: one.left_out)
