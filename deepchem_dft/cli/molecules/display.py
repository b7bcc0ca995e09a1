"""What a calculation shows: what was understood, a line per iteration, and what was found."""

import math
import resource
import sys
from collections.abc import Iterable
from typing import Any

from deepchem_dft.cli.common import console, state_text, uncertainty_text
from deepchem_dft.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM, HARTREE_TO_EV

#: Orbitals shown on either side of the gap.
_FRONTIER = 3


class Progress:
    """Says on standard error what was understood, and a line per iteration, unless it is quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.out = quiet, console(stderr=True)
        self.phase = ""

    def understood(self, molecule: Any, label: str, source: str, unit: str | None) -> None:
        """Tell what will be computed, before anything is."""
        if self.quiet:
            return
        for line in understood(molecule, label, source, unit):
            self.out.print(line, markup=False)

    def __call__(self, step: Any) -> None:
        """Tell of an :class:`~deepchem_dft.scf.kohn_sham.Iteration`."""
        if self.quiet:
            return
        if step.phase != self.phase:
            self.phase = step.phase
            if step.phase == "search":
                self.out.print("looking for lower states", markup=False)
            elif step.phase == "surroundings":
                self.out.print("in its surroundings, by PySCF", markup=False)
            self.out.print(
                f"{'step':>5}{'energy (Ha)':>20}{'change (Ha)':>14}{'residual (Ha)':>15}{'CPU (s)':>10}",
                markup=False,
            )
        change = f"{'-':>14}" if math.isnan(step.change) else f"{step.change:>14.2e}"
        self.out.print(
            f"{step.number:>5}{step.energy:>20.8f}{change}{step.residual:>15.1e}{step.cpu_seconds:>10.1f}",
            markup=False,
        )


def understood(molecule: Any, label: str, source: str, unit: str | None) -> list[str]:
    """Return what was understood of a calculation, as lines."""
    from deepchem_dft.molecule.geometry import names_a_file

    written = "angstrom" if names_a_file(source) else "bohr"
    alpha, beta = molecule.nelec
    core = sum(molecule.pyscf_mol.atom_nelec_core(i) for i in range(len(molecule.symbols)))
    cores = f", {core:g} more in effective cores" if core else ""
    where = source if names_a_file(source) else "as given"
    return [
        f"{molecule.formula}: charge {molecule.charge:+g}, multiplicity {molecule.spin + 1:g}, "
        f"{alpha + beta:g} electrons ({alpha:g} alpha, {beta:g} beta{cores})",
        f"geometry: {where}, in {unit or written}{nearest_text(molecule)}",
        f"{label}, {_basis(molecule)}, grid level {molecule.grid_level}{place_text(molecule)}",
    ]


def place_text(molecule: Any) -> str:
    """Return what a molecule is in, to be put behind something, or nothing."""
    return "" if molecule.surroundings is None else f", in {molecule.surroundings.description}"


def nearest_text(molecule: Any) -> str:
    """Return the shortest distance in words, nothing for an atom.

    Examples
    --------
    >>> from deepchem_dft import Molecule
    >>> nearest_text(Molecule("H 0 0 0; F 0 0 1.7328", "sto-3g"))
    '; shortest distance H1-F2 0.917 Angstrom (1.733 Bohr)'
    """
    import numpy as np

    if len(molecule.symbols) < 2:
        return ""
    apart = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
    apart[np.diag_indices(len(apart))] = np.inf
    i, j = sorted(np.unravel_index(int(apart.argmin()), apart.shape))
    names = "-".join(f"{molecule.symbols[k]}{k + 1}" for k in (i, j))
    return (
        f"; shortest distance {names} {apart[i, j] * BOHR_TO_ANGSTROM:.3f} Angstrom ({apart[i, j]:.3f} Bohr)"
    )


def _basis(molecule: Any) -> str:
    fitted = "" if molecule.fitting is None else f", density fitted in {molecule.fitting.name}"
    return f"{molecule.basis} ({molecule.nao} orbitals{fitted})"


def print_result(molecule: Any, label: str, result: Any, functional: Any, forces: bool) -> None:
    """Print a finished calculation, every number with its unit."""
    import torch

    out = console()
    status = getattr(result.status, "value", result.status)
    lines = {
        "functional": label,
        "basis": f"{_basis(molecule)}, grid level {molecule.grid_level}{place_text(molecule)}",
        "status": f"{status} after {result.iterations} iterations "
        f"(orbital gradient {float(result.commutator):.1e} Ha)",
        "energy": f"{float(result.energy.detach()):.8f} Ha",
    }
    if functional.dispersion_terms:
        lines["dispersion"] = f"{result.energy_terms['dispersion']:.8f} Ha of the energy"
    uncertainty = uncertainty_text(functional, result)
    if uncertainty:
        lines["uncertainty"] = uncertainty
    lines["state"] = state_text(result)
    if math.isfinite(gap := result.gap):
        lines["gap"] = f"{gap * HARTREE_TO_EV:.3f} eV (HOMO-LUMO)"
    dipole = result.dipole.detach() * AU_TO_DEBYE
    vector = ", ".join(f"{x:.4f}" for x in (dipole + 0.0).tolist())
    lines["dipole"] = f"{float(torch.linalg.vector_norm(dipole)):.4f} Debye ({vector})"
    if molecule.charge:
        lines["dipole"] += ", about the origin"
    whole = hasattr(result, "spin_populations")  # DQC's results know less
    if whole:
        moments = result.quadrupole().detach() * AU_TO_DEBYE * BOHR_TO_ANGSTROM
        named = zip(("xx", "yy", "zz", "xy", "xz", "yz"), ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
        parts = ", ".join(f"{name} {float(moments[at]) + 0.0:.4f}" for name, at in named)
        lines["quadrupole"] = f"{parts} Debye Angstrom (traceless, about the centre of mass)"
    print_summary(out, molecule, lines, result.notes)
    if whole:
        for line in (*_terms(result), *_orbitals(result), *_atoms(molecule, result)):
            out.print(line, markup=False)
    if forces and result.converged:
        print_forces(molecule, result)
    if whole:
        out.print(f"{'cost:':<11} {cost_text(result)}", markup=False)


def print_summary(out: Any, molecule: Any, lines: dict[str, str], notes: Iterable[str] = ()) -> None:
    """Print which molecule it is, what is known of it by name, and notes."""
    which = f"{molecule.formula}, charge {molecule.charge:+g}, 2S = {molecule.spin:g}"
    for key, value in {"molecule": which, **lines}.items():
        out.print(f"{key + ':':<11} {value}", markup=False)
    for note in notes:
        out.print(f"{'NOTE:':<11} {note}", markup=False)


def print_forces(molecule: Any, result: Any) -> None:
    """Print forces, a row for each atom."""
    out = console()
    out.print("forces (Ha/Bohr):")
    for symbol, row in zip(molecule.symbols, result.forces().tolist()):
        out.print(f"  {symbol:<3}" + "".join(f"{x:>14.8f}" for x in row), markup=False)


def cost_text(result: Any) -> str:
    """Return processor time, and the most memory this process has had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = most / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere
    return f"{result.cpu_seconds or 0.0:.1f} s of CPU, at most {size:.2f} GiB of memory"


def _terms(result: Any) -> list[str]:
    known = {name: value for name, value in result.energy_terms.items() if value}
    return ["energy terms (Ha):"] + [
        f"  {name.replace('_', ' '):<22}{value:>18.8f}" for name, value in known.items()
    ]


def _orbitals(result: Any) -> list[str]:
    lines = ["orbital energies next to the gap (eV):"]
    energies = result.orbital_energies.detach() * HARTREE_TO_EV
    for spin, (levels, filled) in enumerate(zip(energies.tolist(), result.occupations.tolist())):
        count = sum(f > 1e-6 for f in filled)
        shown = range(max(0, count - _FRONTIER), min(len(levels), count + _FRONTIER))
        name = "" if result.restricted else ("alpha ", "beta  ")[spin]
        lines.append("  " + name + "  ".join(f"{i + 1}: {levels[i]:.3f} ({filled[i]:g})" for i in shown))
    return lines


def _atoms(molecule: Any, result: Any) -> list[str]:
    columns = [("Mulliken", result.charges("mulliken")), ("Loewdin", result.charges("loewdin"))]
    title = "charges of atoms (e)"
    if not result.restricted:
        title += " and their unpaired electrons"
        columns += [(f"{k} spin", result.spin_populations(k.lower())) for k in ("Mulliken", "Loewdin")]
    lines = [f"{title}:", f"  {'atom':<6}" + "".join(f"{name:>15}" for name, _ in columns)]
    rows = zip(*(values.detach().tolist() for _, values in columns))
    for number, (symbol, row) in enumerate(zip(molecule.symbols, rows), 1):
        lines.append(f"  {symbol + str(number):<6}" + "".join(f"{x + 0.0:>15.4f}" for x in row))
    return lines
