"""What a functional of one-dimensional molecules makes of sets of exact states."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepchem_dft.runs.tables import EntryRecord, markdown_table
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem.data import NumpyDataset

    from deepchem_dft.lattice.exact import ExactState
    from deepchem_dft.models import KSRModel


@dataclass
class CurveSet:
    """Exact states of one family that share a table.

    Attributes
    ----------
    role : str
        train, valid or test.
    label, family : str
    distances : list of float
        Bohr.
    states : list of ExactState
    """

    role: str
    label: str
    family: str
    distances: list[float]
    states: "list[ExactState]"


@dataclass
class Evaluated:
    """A functional on a set: energies without nuclear repulsion, densities, electrons moved."""

    functional: str
    curve: CurveSet
    energies: np.ndarray
    densities: np.ndarray
    residuals: np.ndarray

    def density_error(self) -> float:
        """Return the mean of int |n - n_exact| dx per electron."""
        exact = np.array([state.density for state in self.curve.states])
        moved = np.abs(self.densities - exact).sum(1) * self.curve.states[0].grid.spacing
        return float(np.mean(moved / [s.system.electrons for s in self.curve.states]))

    def records(self, tol: float) -> list[EntryRecord]:
        """Return one record per molecule; unconverged ones have no value."""
        return [
            EntryRecord(
                self.functional,
                self.curve.role,
                self.curve.label,
                state.system.name,
                "energy",
                state.energy,
                float(energy) if moved < tol else float("nan"),
                [] if moved < tol else [f"{moved:.2g} electrons moved"],
            )
            for state, energy, moved in zip(self.curve.states, self.energies, self.residuals, strict=True)
        ]


def make_dataset(states: "Sequence[ExactState]") -> "NumpyDataset":
    """Return a data set for KSRModel."""
    from deepchem.data import NumpyDataset

    x = np.empty(len(states), dtype=object)
    x[:] = list(states)
    y = np.array([[state.energy] for state in states])
    return NumpyDataset(x, y, ids=[state.system.name for state in states])


def evaluate_sets(model: "KSRModel", name: str, sets: Sequence[CurveSet]) -> list[Evaluated]:
    """Return what a model makes of sets."""
    out = []
    for one in sets:
        dataset = make_dataset(one.states)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tables say what did not converge
            energies = model.predict(dataset)[:, 0]
            residuals = model.last_residuals
            densities = model.predict_density(dataset)
        out.append(Evaluated(name, one, energies, densities, residuals))
    return out


def curves_markdown(found: Sequence[Evaluated], tol: float) -> str:
    """Return one table: errors in mHa, how many are within chemical accuracy, densities."""
    rows = []
    for one in found:
        errors = np.array([r.error for r in one.records(tol)]) / HARTREE_TO_KCAL * 1000
        known = errors[np.isfinite(errors)]
        within = int((np.abs(known) * HARTREE_TO_KCAL / 1000 <= 1.0).sum())
        rows.append(
            [
                f"{one.curve.role}: {one.curve.label}, {one.functional}",
                str(len(errors)),
                *(
                    [f"{np.abs(known).mean():.2f}", f"{np.abs(known).max():.2f}"]
                    if len(known)
                    else ["-", "-"]
                ),
                f"{within} of {len(errors)}",
                f"{one.density_error():.2e}",
                str(len(errors) - len(known)),
            ]
        )
    return markdown_table(
        ["set, functional", "N", "MAE, mHa", "max, mHa", "within 1 kcal/mol", "density", "unconverged"], rows
    )
