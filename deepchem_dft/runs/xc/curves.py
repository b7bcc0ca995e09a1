"""Dissociation curves: many distances, several functionals, exact values where known."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.files import check_writable, write
from deepchem_dft.runs import plots
from deepchem_dft.runs.tables import csv_text
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.units import HARTREE_TO_KCAL, LENGTH_UNITS

if TYPE_CHECKING:
    from deepchem_dft.molecule import Molecule
    from deepchem_dft.molecule.surroundings import Surroundings

_FIGURES = (".png", ".pdf", ".svg")


def check_output(path: Path) -> None:
    """Raise InputError or StorageError unless a curve can be written to ``path``."""
    if path.suffix.lower() not in (*_FIGURES, ".csv"):
        raise InputError(
            f"cannot write a curve as '{path.suffix or path.name}'",
            file=str(path),
            field="out",
            remedy=f"end the name with one of {', '.join((*_FIGURES, '.csv'))}",
        )
    if not os.path.isdir(path.resolve().parent):
        raise InputError("the folder does not exist", file=str(path), field="out")
    check_writable(path)


def spaced(start: float, stop: float, points: int) -> list[float]:
    """Return distances that lie closer together where the bond is short.

    Examples
    --------
    >>> [round(r, 3) for r in spaced(1.0, 4.0, 3)]
    [1.0, 2.0, 4.0]
    """
    if not 0 < start < stop:
        raise InputError(
            f"distances from {start:g} to {stop:g} are no curve",
            field="start",
            remedy="start must be positive and smaller than stop",
        )
    return [float(r) for r in np.geomspace(start, stop, points)]


#: A curve begins and ends at these multiples of the sum of two covalent radii.
_SHORT, _LONG = 0.7, 4.0


def usual_range(geometry: str, unit: str = "bohr") -> tuple[float, float]:
    """Return where a curve begins and ends if nobody says: by the covalent radii of the bond.

    Radii are those of Cordero et al., Dalton Trans. 2832 (2008), as PySCF has them.

    Raises
    ------
    InputError
        If ``{R}`` is no distance between two atoms.

    Examples
    --------
    >>> [round(r, 2) for r in usual_range("H 0 0 0; H 0 0 {R}")]
    [0.82, 4.69]
    """
    from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE, read_geometry
    from deepchem_dft.molecule.integrals import COVALENT_RADII

    near, far = (read_geometry(geometry.replace("{R}", str(r)), unit) for r in (2.0, 4.0))
    sums = []
    for a in range(len(near.symbols)):
        for b in range(a):
            one, two = (float(np.linalg.norm(g.positions[a] - g.positions[b])) for g in (near, far))
            if abs(two - 2.0 * one) < 1e-6:  # in proportion to {R}
                pair = [COVALENT_RADII[NUCLEAR_CHARGE[near.symbols[k]]] for k in (a, b)]
                sums.append(float(sum(pair)) * 2.0 / one)
    if not sums:
        raise InputError(
            "{R} is no distance between two atoms, so nothing says where the curve begins and ends",
            field="start",
            remedy="give --start and --stop",
        )
    return _SHORT * max(sums), _LONG * max(sums)


def molecules(
    geometry: str,
    distances: Sequence[float],
    basis: str = "def2-tzvp",
    charge: int | None = None,
    spin: int | None = None,
    unit: str = "bohr",
    grid_level: int = 3,
    restricted: bool | None = None,
    broken_symmetry: bool = False,
    surroundings: "Surroundings | None" = None,
) -> "list[Molecule]":
    """Return one molecule per distance, put where the geometry says ``{R}``.

    Raises
    ------
    InputError
        If there is no ``{R}``, or a molecule is not possible.
    """
    from deepchem_dft.molecule import Molecule

    if "{R}" not in geometry:
        raise InputError(
            f"the geometry {geometry!r} has no {{R}} in it",
            field="geometry",
            remedy="write for example 'H 0 0 0; H 0 0 {R}'",
        )
    return [
        Molecule(
            geometry.replace("{R}", f"{r:.10f}"),
            basis,
            charge,
            spin,
            unit,
            grid_level,
            restricted=restricted,
            broken_symmetry=broken_symmetry,
            surroundings=surroundings,
        )
        for r in distances
    ]


def solve(
    solver: Solver,
    points: "Sequence[Molecule]",
    functionals: Sequence[Functional],
    on_solution: Callable[..., None] | None = None,
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, list[list[str]]]]:
    """Return energies and uncertainties (Ha), and what else to say, by functional label.

    Energies are NaN where the field did not converge. Only ensembles have uncertainties. Every
    functional starts afresh: a learned one can have two closed shells of the same symmetry where H2 is
    stretched, 20 kcal/mol apart, and from the orbitals of another functional may come to the higher one.
    """
    from deepchem_dft.xc.ensemble import uncertainty_of

    found = solver.solve([(m, functionals) for m in points], afresh=True, on_solution=on_solution)
    rows = {f.label: (f, [found[m.key, f.key] for m in points]) for f in functionals}
    spread = {
        label: [math.nan if p.members is None else uncertainty_of(p.members, *f.calibration) for p in row]
        for label, (f, row) in rows.items()
        if f.calibration is not None
    }
    energies = {label: [p.energy for p in row] for label, (_, row) in rows.items()}
    return energies, spread, {k: [p.notes or [] for p in row] for k, (_, row) in rows.items()}


def exact_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return exact distances (Bohr) and energies (Ha); only ``h2`` is known.

    Raises
    ------
    InputError
        For another name.
    """
    if name.lower() != "h2":
        raise InputError(f"no exact curve is known for {name!r}", field="exact", remedy="use h2")
    from deepchem_dft.data import read_yaml
    from deepchem_dft.runs.xc.entries import dataset_path

    tags = [entry.tags for entry in read_yaml(str(dataset_path("h2-curve")))]
    values = np.array(sorted((float(t["distance"]), float(t["total_energy"])) for t in tags))
    return values[:, 0], values[:, 1]


def check_is_h2(points: "Sequence[Molecule]", distances: Sequence[float], unit: str) -> None:
    """Raise InputError unless these are H2 molecules with bonds of these lengths (in ``unit``)."""
    remedy = "leave --exact out, or stretch 'H 0 0 0; H 0 0 {R}' with charge and spin 0"
    for molecule, distance in zip(points, distances):
        if molecule.formula != "H2" or molecule.charge or molecule.spin:
            raise InputError(
                "the exact curve is that of the H2 singlet, not of "
                f"{molecule.formula} with charge {molecule.charge:g} and spin {molecule.spin:g}",
                field="exact",
                remedy=remedy,
            )
        bond = float(np.linalg.norm(molecule.positions[0] - molecule.positions[1]))
        if abs(bond - distance * LENGTH_UNITS[unit.lower()]) > 1e-6:
            raise InputError(
                f"the exact curve needs {{R}} to be the bond length, but {{R}} = {distance:.4f} "
                f"{unit} puts the atoms {bond:.4f} bohr apart",
                field="exact",
                remedy=remedy,
            )


@dataclass
class Curve:
    """A computed dissociation curve.

    Attributes
    ----------
    geometry, unit : str
        The template and the unit of its lengths.
    distances : list of float
        In ``unit``.
    energies : mapping of str to list of float
        By functional, Ha.
    exact : (distances, energies) or None
        Bohr, Ha.
    title : str
        Heading of figures; default the geometry.
    uncertainties : mapping of str to list of float
        Of the energies of those functionals that know them, Ha.
    notes : mapping of str to list of list of str
        What has to be said beside energies, by functional and distance.
    trained : str
        What figures call the functional that a run trained.
    """

    geometry: str
    unit: str
    distances: Sequence[float]
    energies: Mapping[str, Sequence[float]]
    exact: tuple[Any, Any] | None = None
    title: str = ""
    uncertainties: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    trained: str = "trained"

    @property
    def bohr(self) -> np.ndarray:
        """The distances in Bohr."""
        return np.asarray(self.distances) * LENGTH_UNITS[self.unit.lower()]

    def exact_energies(self) -> np.ndarray | None:
        """Return exact energies (Ha) at the distances, NaN outside the known range."""
        if self.exact is None:
            return None
        from scipy.interpolate import CubicSpline

        return CubicSpline(*self.exact, extrapolate=False)(self.bohr)

    def errors(self) -> dict[str, np.ndarray]:
        """Return calculated minus exact (kcal/mol) by functional; empty without exact values."""
        exact = self.exact_energies()
        if exact is None:
            return {}
        return {k: (np.asarray(v) - exact) * HARTREE_TO_KCAL for k, v in self.energies.items()}

    def above_lowest(self) -> dict[str, np.ndarray]:
        """Return energies above the lowest of the same functional, kcal/mol."""
        rows = {k: np.asarray(v) for k, v in self.energies.items()}
        return {
            k: v * np.nan if np.isnan(v).all() else (v - np.nanmin(v)) * HARTREE_TO_KCAL
            for k, v in rows.items()
        }

    def _spreads(self) -> dict[str, np.ndarray]:
        return {k: np.asarray(v) * HARTREE_TO_KCAL for k, v in self.uncertainties.items()}

    def data(self) -> dict[str, Any]:
        """Return everything as plain data, the unit in every name; NaN where nothing converged."""
        exact = self.exact_energies()
        return {
            "geometry": self.geometry,
            f"distances_{self.unit}": [float(r) for r in self.distances],
            "energies_hartree": {k: [float(e) for e in v] for k, v in self.energies.items()},
            "above_lowest_kcal_mol": {k: v.tolist() for k, v in self.above_lowest().items()},
            "uncertainties_kcal_mol": {k: v.tolist() for k, v in self._spreads().items()},
            "exact_hartree": None if exact is None else exact.tolist(),
            "errors_kcal_mol": {k: v.tolist() for k, v in self.errors().items()},
            "notes": {k: [list(point) for point in v] for k, v in self.notes.items()},
        }

    def text(self) -> str:
        """Return a table for the screen."""
        names, errors = list(self.energies), self.errors()
        header = [f"R ({self.unit})"] + [f"{name} (Ha)" for name in names]
        above = self.above_lowest()
        header += [f"{name} above lowest (kcal/mol)" for name in above]
        header += ["exact (Ha)"] * bool(errors) + [f"{n} error (kcal/mol)" for n in errors]
        spreads = self._spreads()
        header += [f"{n} uncertainty (kcal/mol)" for n in spreads]
        exact = self.exact_energies()
        lines = ["  ".join(f"{h:>14}" for h in header)]
        for i, distance in enumerate(self.distances):
            cells = [f"{distance:.4f}"] + [f"{self.energies[n][i]:.8f}" for n in names]
            cells += [f"{values[i]:.3f}" for values in above.values()]
            cells += [f"{exact[i]:.8f}"] if exact is not None else []
            cells += [f"{errors[n][i]:.3f}" for n in errors]
            cells += [f"{values[i]:.3f}" for values in spreads.values()]
            lines.append("  ".join(f"{c:>{max(14, len(h))}}" for c, h in zip(cells, header)))
        return "\n".join(lines + self._noted())

    def _noted(self) -> list[str]:
        """Return a line for every kind of note of a functional: where it holds, and the last of them."""
        kinds: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for name, points in self.notes.items():
            for distance, notes in zip(self.distances, points):
                for note in notes:
                    kind = re.sub(r"[-+]?\d+(?:\.\d+)?", "#", note)
                    kinds.setdefault((name, kind), []).append((distance, note))
        lines = []
        for (name, _), found in kinds.items():
            (first, _), (last, note) = found[0], found[-1]
            places = f"{last:.4f}" if len(found) == 1 else f"{first:.4f} to {last:.4f}"
            many = f" ({len(found)} points; the last one)" if len(found) > 1 else ""
            lines.append(f"NOTE: {name} at R = {places} {self.unit}{many}: {note}")
        return lines

    def write(self, path: Path) -> None:
        """Write a figure or a CSV file, by the name's ending."""
        check_output(path)
        if path.suffix.lower() == ".csv":
            self._write_csv(path)
            return
        plots.dissociation_curve(
            list(self.bohr),
            self.energies,
            path,
            exact=self.exact,
            title=self.title or self.geometry.replace("{R}", "R"),
            uncertainties=self.uncertainties,
            trained=self.trained,
        )

    def _write_csv(self, path: Path) -> None:
        errors, exact, spreads = self.errors(), self.exact_energies(), self._spreads()
        header = [f"R_{self.unit}"] + [f"{name}_hartree" for name in self.energies]
        above = self.above_lowest()
        header += [f"{name}_above_lowest_kcal_per_mol" for name in above]
        header += ["exact_hartree"] * (exact is not None)
        header += [f"{name}_error_kcal_per_mol" for name in errors]
        header += [f"{name}_uncertainty_kcal_per_mol" for name in spreads]
        noted = [name for name, points in self.notes.items() if any(points)]
        rows = [header + [f"{name}_notes" for name in noted]]
        for i, distance in enumerate(self.distances):
            row = [f"{distance:.10f}"] + [f"{v[i]:.10f}" for v in self.energies.values()]
            row += [f"{values[i]:.6f}" for values in above.values()]
            row += [f"{exact[i]:.10f}"] if exact is not None else []
            more = [*errors.values(), *spreads.values()]
            row += [f"{v[i]:.6f}" for v in more]
            rows.append(row + ["; ".join(self.notes[name][i]) for name in noted])
        write(path, csv_text(rows))

    def raise_if_unconverged(self) -> None:
        """Raise SCFNotConverged naming every point without an energy."""
        bad = [
            f"{name} at R = {self.distances[i]:.3f} {self.unit}"
            for name, values in self.energies.items()
            for i, value in enumerate(values)
            if math.isnan(value)
        ]
        if bad:
            raise SCFNotConverged(f"{len(bad)} points did not converge: {'; '.join(bad)}")
