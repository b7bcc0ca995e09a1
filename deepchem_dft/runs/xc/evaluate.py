"""Functionals judged on entries: every system solved once, unconverged ones named, never used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deepchem_dft import parallel
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.runs.xc.entries import EntrySet, unique_systems
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyRecord, Functional

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry, DFTSystem
    from deepchem_dft.molecule import Molecule
    from deepchem_dft.molecule.surroundings import Surroundings


class Evaluation:
    """Evaluate functionals on sets of entries, self-consistently and in parallel.

    Parameters
    ----------
    solver : Solver
    grid_level : int
        PySCF's quadrature level.
    density_fit : None, bool or str
        As in ``Molecule``: None fits large molecules.
    surroundings : Surroundings, optional
        What all systems are in.
    """

    def __init__(
        self,
        solver: Solver,
        grid_level: int = 3,
        density_fit: bool | str | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.solver, self.grid_level, self.density_fit = solver, grid_level, density_fit
        self.surroundings = surroundings
        self._molecules: dict[Any, Molecule] = {}
        #: Solutions of the last :meth:`run` by (molecule, functional).
        self.solved: dict[tuple[str, str], EnergyRecord] = {}

    def run(
        self,
        tasks: Sequence[tuple[EntrySet, Sequence[Functional]]],
        on_solution: Callable[[EnergyRecord, int, int], None] | None = None,
    ) -> list[EntryRecord]:
        """Return one record per entry and functional, in the order given.

        Parameters
        ----------
        tasks : list of (EntrySet, list of Functional)
            Cheap functionals first: each starts from the orbitals of the one before, except for
            atoms.
        on_solution : callable, optional
            See :meth:`Solver.solve`.
        """
        requests = [
            (self._molecule(system), functionals)
            for group, functionals in tasks
            for system in unique_systems(e for e in group.entries if e.is_energy)
        ]
        self.solved = solved = self.solver.solve(requests, on_solution=on_solution)
        rows = [
            (group, functional, entry)
            for group, functionals in tasks
            for functional in functionals
            for entry in group.entries
        ]
        densities = [row for row in rows if not row[2].is_energy]
        deviations = iter(parallel.share_out(lambda row: self._deviation(*row), densities))
        return [self._energy(*row, solved) if row[2].is_energy else next(deviations) for row in rows]

    def energy_of(self, system: DFTSystem, functional: Functional) -> float:
        """Return a system's energy (Ha) as of the last :meth:`run`; NaN if it did not converge."""
        found = self.solved[self._molecule(system).key, functional.key]
        return found.energy if found.converged else math.nan

    def _molecule(self, system: DFTSystem) -> Molecule:
        if system.key not in self._molecules:
            molecule = system.to_molecule(self.grid_level, self.density_fit)
            if self.surroundings is not None:
                molecule = molecule.replace(surroundings=self.surroundings)
            self._molecules[system.key] = molecule
        return self._molecules[system.key]

    def _energy(
        self,
        group: EntrySet,
        functional: Functional,
        entry: DFTEntry,
        solved: dict[tuple[str, str], EnergyRecord],
    ) -> EntryRecord:
        parts = [solved[self._molecule(s).key, functional.key] for s in entry.get_systems()]
        bad = [f"{p.name} ({p.status})" for p in parts if not p.converged]
        # An energy that is not one is NaN, and so is everything made from it.
        value = sum(c * p.energy for c, p in zip(entry.coefficients, parts))
        return EntryRecord(
            functional.label,
            group.role,
            group.label,
            entry.name,
            entry.entry_type,
            entry.label,
            math.nan if bad else value,
            bad,
            _uncertainty(functional, entry, parts),
            [f"{p.name}: {note}" for p in parts for note in p.notes or []],
        )

    def _deviation(self, group: EntrySet, functional: Functional, entry: DFTEntry) -> EntryRecord:
        """Deviation of a density or density matrix; few and small, so solved here."""
        import torch

        from deepchem_dft.scf import KohnSham

        molecule = self._molecule(entry.get_systems()[0])
        problem = KohnSham(molecule, functional.load(), self.solver.scf)
        with torch.no_grad():
            result = problem.run(on_unconverged="continue")
            value = float(entry.deviation(result)) if result.converged else math.nan  # type: ignore[attr-defined]
        bad = [] if result.converged else [f"{molecule.name} ({result.status.name.lower()})"]
        return EntryRecord(
            functional.label,
            group.role,
            group.label,
            entry.name,
            entry.entry_type,
            0.0,
            value,
            bad,
            notes=[f"{molecule.name}: {note}" for note in result.notes],
        )


def _uncertainty(functional: Functional, entry: DFTEntry, parts: Sequence[EnergyRecord]) -> float | None:
    """Return that of an entry's value (Ha), which the members of an ensemble form one by one."""
    members, calibration = [p.members for p in parts], functional.calibration_of(entry.tags.get("kind"))
    if calibration is None or None in members:
        return None
    from deepchem_dft.xc.ensemble import uncertainty_of

    columns = zip(*members)  # type: ignore[arg-type]
    values = [sum(c * e for c, e in zip(entry.coefficients, column)) for column in columns]
    return uncertainty_of(values, *calibration)
