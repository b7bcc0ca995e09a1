"""Evaluation of a run on Hamiltonians: errors of a network and of what it must beat."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.files import write
from deepchem_dft.fitting.progress import LOGGER
from deepchem_dft.runs.hamiltonian.sets import HamiltonianSet
from deepchem_dft.runs.tables import csv_text, markdown_table

if TYPE_CHECKING:
    from deepchem_dft.models import HamiltonianModel, HamiltonianPolynomial, HamiltonianScore

COLUMNS = ["set", "N", "H", "orbitals", "gap", "coefficients", "energy", "cycles", "unconverged"]


@dataclass
class Evaluated:
    """What was found for one set, by the network or by the guess.

    Attributes
    ----------
    set : HamiltonianSet
    method : str
        In tables.
    scores : list of HamiltonianScore
        In the order of the set, energies in microhartree.
    cycles : list of (int, int)
        PySCF's from its default guess and from the prediction, of the first molecules.
    """

    set: HamiltonianSet
    method: str
    scores: "list[HamiltonianScore]"
    cycles: list[tuple[int, int]]

    def cells(self) -> list[str]:
        """Return a row of the table."""
        energies = [s.energy_error for s in self.scores if s.energy_error is not None]
        mean = {
            name: float(np.mean([getattr(s, name) for s in self.scores]))
            for name in ("hamiltonian_mae", "orbital_mae", "gap_error", "coefficient_similarity")
        }
        before, after = (float(np.mean(c)) for c in zip(*self.cycles)) if self.cycles else (0, 0)
        return [
            f"{self.set.role}: {self.set.label}, {self.method}",
            str(len(self.scores)),
            f"{mean['hamiltonian_mae']:.2f}",
            f"{mean['orbital_mae']:.2f}",
            f"{mean['gap_error']:.1f}",
            f"{mean['coefficient_similarity']:.5f}",
            f"{np.mean(energies):.2f}" if energies else "-",
            f"{after:.1f} of {before:.1f}" if self.cycles else "-",
            str(sum(not s.converged for s in self.scores)),
        ]


def polynomial_of(sets: Sequence[HamiltonianSet], grid_level: int) -> "HamiltonianPolynomial | None":
    """Return what a network for one molecule must beat, fitted to its training data; None for several."""
    from deepchem_dft.models import HamiltonianPolynomial

    samples = [sample for one in sets if one.role == "train" for sample in one.dataset.X]
    if len({(tuple(sample.numbers), sample.charge) for sample in samples}) != 1:
        return None
    try:
        return HamiltonianPolynomial(grid_level=grid_level).fit(samples)
    except InputError as error:
        LOGGER.info("there is no polynomial to compare with: %s", error)
        return None


def evaluate_hamiltonian_set(
    model: "HamiltonianModel",
    one: HamiltonianSet,
    energies: int = 0,
    cycles: int = 0,
    baseline: bool = True,
    polynomial: "HamiltonianPolynomial | None" = None,
) -> list[Evaluated]:
    """Return errors of the guess (if asked for), of the polynomial (if there is one) and of the network.

    Parameters
    ----------
    model : HamiltonianModel
    one : HamiltonianSet
    energies, cycles : int
        Molecules, from the beginning, whose total energies are compared, and for which PySCF is
        run to 1e-9 Hartree.
    baseline : bool
    polynomial : HamiltonianPolynomial, optional
    """
    first, rest = np.split(np.arange(len(one.rows)), [min(energies, len(one.rows))])
    parts = [
        (one.dataset.select(rows), number == 0) for number, rows in enumerate((first, rest)) if len(rows)
    ]
    found = []
    if baseline:
        scores = [s for data, energy in parts for s in model.guess_scores(data, energy)]
        found.append(Evaluated(one, f"{model.config['guess']} guess", scores, []))
    if polynomial is not None and polynomial.knows(one.dataset):
        degree = polynomial.polynomial.degree if polynomial.polynomial else 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of geometries beyond the training data: the table shows it
            scores = [s for data, energy in parts for s in polynomial.scores(data, energy)]
        found.append(Evaluated(one, f"polynomial of degree {degree}", scores, []))
    scores = [s for data, energy in parts for s in model.scores(data, energy)]
    counted = one.dataset.select(np.arange(min(cycles, len(one.rows))))
    saved = []
    for prediction in model.predict_properties(counted) if len(counted) else []:
        try:
            saved.append(prediction.cycles())
        except SCFNotConverged as error:
            LOGGER.warning("%s is left out of the cycles: %s", prediction.name, error)
    return [*found, Evaluated(one, str(model.config["form"]), scores, saved)]


def hamiltonian_markdown(found: Sequence[Evaluated]) -> str:
    """Return one table: a row per set and method."""
    return markdown_table(COLUMNS, [one.cells() for one in found])


def write_molecules(path: str | Path, found: Sequence[Evaluated]) -> None:
    """Write the errors of every molecule as CSV, energies in microhartree."""
    names = [
        "name",
        "hamiltonian_mae",
        "orbital_mae",
        "gap_error",
        "coefficient_similarity",
        "energy_error",
        "converged",
        "iterations",
    ]
    lines = [["role", "set", "method", *names]]
    for one in found:
        lines += [
            [one.set.role, one.set.label, one.method, *(getattr(s, n) for n in names)] for s in one.scores
        ]
    write(Path(path), csv_text(lines))
