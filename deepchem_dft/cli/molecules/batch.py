"""Many molecules in one command: a row for each, in parallel, going on where it was stopped."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepchem_dft.cli import options
from deepchem_dft.cli.common import console, solution_progress, tell_of_kept
from deepchem_dft.errors import DeepChemDFTError, InputError


@dataclass
class Row:
    """One molecule of many: what was found, or what is wrong with it."""

    source: str
    molecule: Any = None
    solution: Any = None
    uncertainty: float | None = None
    problem: str = ""

    def data(self) -> dict[str, Any]:
        """Return the row as plain data, the unit in every name."""
        known: dict[str, Any] = {"source": self.source, "problem": self.problem or None}
        if self.molecule is not None:
            known |= {
                "formula": self.molecule.formula,
                "charge": self.molecule.charge,
                "multiplicity": self.molecule.spin + 1,
            }
        if self.solution is not None:
            known |= {
                "converged": self.solution.converged,
                "energy_hartree": self.solution.energy if self.solution.converged else None,
                "uncertainty_hartree": self.uncertainty,
                "iterations": self.solution.iterations,
                "notes": self.solution.notes or [],
            }
        return known


def solve_many(
    sources: Sequence[str],
    functional: Any,
    molecule_of: Callable[[str], Any],
    xc: str,
    *,
    jobs: int | None,
    keep: Path | None,
    json: bool,
    quiet: bool,
    **scf: Any,
) -> None:
    """Solve and print a table; what cannot be read or does not converge has a row with the reason.

    Parameters
    ----------
    sources : list of str
        Files or geometries.
    functional : Functional
        Of :mod:`deepchem_dft.scf.solutions`.
    molecule_of : callable
        Makes a molecule of a source.
    xc : str
        The functional as it was asked for, or nothing: for warnings.
    jobs, keep, json, quiet
        Options of the command.
    **scf
        See :class:`~deepchem_dft.scf.SCFOptions`.

    Raises
    ------
    DeepChemDFTError
        In the end, if a row has a problem.
    """
    from deepchem_dft.runs.advice import warn
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.xc.ensemble import uncertainty_of

    rows = [Row(source) for source in sources]
    for row in rows:
        try:
            row.molecule = molecule_of(row.source)
        except InputError as error:
            row.problem = str(error)
    good = [row for row in rows if row.molecule is not None]
    warn({row.source: row.molecule for row in good}, [xc])
    with Solver(jobs, cache=keep, **scf) as solver, solution_progress("solving", quiet) as show:
        tell_of_kept(solver, keep)
        found = solver.solve([(row.molecule, [functional]) for row in good], on_solution=show)
    for row in good:
        row.solution = found[row.molecule.key, functional.key]
        if not row.solution.converged:
            row.problem = f"did not converge ({row.solution.status})"
        elif row.solution.members is not None:
            row.uncertainty = uncertainty_of(row.solution.members, *functional.calibration)
    if json:
        options.print_json({"functional": functional.label, "rows": [row.data() for row in rows]})
    else:
        _print(rows)
    if bad := [row for row in rows if row.problem]:
        raise DeepChemDFTError(
            f"{len(bad)} of {len(rows)} could not be solved: "
            + "; ".join(f"{row.source}: {row.problem}" for row in bad[:5])
        )


def _print(rows: Sequence[Row]) -> None:
    from deepchem_dft.runs.tables import markdown_table
    from deepchem_dft.units import HARTREE_TO_KCAL

    uncertain = any(row.uncertainty is not None for row in rows)
    header = ["molecule", "formula", "charge", "2S+1", "energy (Ha)"]
    header += ["uncertainty (kcal/mol)"] * uncertain + ["iterations", "state"]
    table = []
    for row in rows:
        cells = [row.source]
        one = row.molecule
        cells += ["", "", ""] if one is None else [one.formula, f"{one.charge:+g}", f"{one.spin + 1:g}"]
        energy = math.nan if row.solution is None else row.solution.energy
        cells.append("-" if math.isnan(energy) else f"{energy:.8f}")
        if uncertain:
            spread = row.uncertainty
            cells.append("-" if spread is None else f"{spread * HARTREE_TO_KCAL:.2f}")
        cells.append("" if row.solution is None else str(row.solution.iterations))
        state = "converged" if row.solution is not None and row.solution.converged else "FAILED"
        cells.append("; ".join([state, *((row.solution.notes or []) if row.solution else [])]))
        table.append(cells)
    console().print(markdown_table(header, table), markup=False)
