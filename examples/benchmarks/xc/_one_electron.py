"""Stretched H2+ and He2+ and atoms of fractional charge: systems, exact energies, data to train on.

Exact means full configuration interaction in the same basis, by PySCF; for one electron that is
Hartree-Fock.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyscf import ao2mo, fci, gto, scf

from deepchem_dft.files import replacing
from deepchem_dft.molecule import Molecule

if TYPE_CHECKING:
    from deepchem_dft.data import DFTSystem

#: Electrons of each spin at whole charges, in order. Aligned spins first, as Hund has it.
ATOMS: dict[str, list[tuple[int, int]]] = {
    "H": [(0, 0), (1, 0), (1, 1)],
    "He": [(0, 0), (1, 0), (1, 1)],
    "Li": [(1, 1), (2, 1), (2, 2)],
    "Be": [(2, 1), (2, 2)],
    "B": [(2, 2), (3, 2), (4, 2)],
    "C": [(3, 2), (4, 2), (5, 2)],
    "N": [(4, 2), (5, 2), (5, 3)],
    "O": [(5, 2), (5, 3), (5, 4)],
    "F": [(5, 3), (5, 4), (5, 5)],
}
FRACTIONS = (0.25, 0.5, 0.75)
#: Curves: symbol of the two atoms, electrons of the molecule, of its fragments; distances in Bohr.
CURVES = {
    "H2+": ("H", (1, 0), [(1, 0), (0, 0)], (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)),
    "He2+": ("He", (2, 1), [(1, 0), (1, 1)], (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)),
}


def atom(symbol: str, electrons: tuple[float, float], basis: str) -> DFTSystem | None:
    """Return an atom with these alpha and beta electrons; of none, None: its energy is zero."""
    from deepchem_dft.data import DFTSystem  # not before its noise is silenced

    alpha, beta = electrons
    if alpha + beta == 0:
        return None
    return DFTSystem(
        {
            "moldesc": f"{symbol} 0 0 0",
            "basis": basis,
            "n_alpha": alpha,
            "n_beta": beta,
            "name": f"{symbol} {alpha + beta:g}e",
        }
    )


def dimer(name: str, distance: float, basis: str) -> DFTSystem:
    """Return one point of a curve."""
    from deepchem_dft.data import DFTSystem

    symbol, electrons, _, _ = CURVES[name]
    charge = 1 if name.endswith("+") else 0
    return DFTSystem(
        {
            "moldesc": f"{symbol} 0 0 0; {symbol} 0 0 {distance!r}",
            "basis": basis,
            "charge": charge,
            "spin": electrons[0] - electrons[1],
            "name": f"{name} {distance:g}",
        }
    )


def between(low: tuple[float, float], high: tuple[float, float], share: float) -> tuple[float, float]:
    """Return the electrons of a fraction of the way from one whole number to the next."""
    return (low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1]))


def line(symbol: str) -> list[tuple[float, float]]:
    """Return electrons along a line, whole numbers and fractions between them."""
    points: list[tuple[float, float]] = []
    for low, high in zip(ATOMS[symbol], ATOMS[symbol][1:]):
        points += [low, *(between(low, high, share) for share in FRACTIONS)]
    return [*points, ATOMS[symbol][-1]]


class Exact:
    """Full configuration interaction, remembered in a file.

    Parameters
    ----------
    path : Path, optional
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        known = path is not None and path.is_file()
        self.energies: dict[str, float] = json.loads(path.read_text()) if known else {}

    def energy(self, system: DFTSystem | None) -> float:
        """Return the energy (Ha) of a system with whole numbers of electrons."""
        if system is None:
            return 0.0
        alpha, beta = (round(n) for n in system.electrons)
        key = f"{system.moldesc} | {system.basis} | {alpha} {beta}"
        if key not in self.energies:
            self.energies[key] = _full_ci(system.to_molecule(0), alpha, beta)
            if self.path is not None:
                with replacing(self.path) as draft:
                    Path(draft).write_text(json.dumps(self.energies, indent=1))
        return self.energies[key]

    def along(self, symbol: str, basis: str) -> list[float]:
        """Return the exact energies (Ha) along a line: straight between whole numbers."""
        ends = [self.energy(atom(symbol, n, basis)) for n in ATOMS[symbol]]
        out: list[float] = []
        for low, high in zip(ends, ends[1:]):
            out += [low, *(low + share * (high - low) for share in FRACTIONS)]
        return [*out, ends[-1]]


def _full_ci(molecule: Molecule, alpha: int, beta: int) -> float:
    mole: gto.Mole = molecule.pyscf_mol.copy()
    mole.verbose = 0
    mole.charge, mole.spin = int(sum(mole.atom_charges())) - alpha - beta, alpha - beta
    mole.build()
    core = scf.hf.get_hcore(mole)
    overlap = mole.intor("int1e_ovlp")
    if alpha + beta == 1:
        values, vectors = np.linalg.eigh(overlap)
        root = vectors / np.sqrt(values)
        return float(np.linalg.eigvalsh(root.T @ core @ root)[0]) + mole.energy_nuc()
    field = scf.ROHF(mole).run() if alpha != beta else scf.RHF(mole).run()
    orbitals = field.mo_coeff
    one = orbitals.T @ core @ orbitals
    two = ao2mo.full(mole, orbitals)
    solver = fci.direct_spin1.FCI()
    solver.conv_tol, solver.max_cycle, solver.max_space = 1e-10, 200, 20
    energy, _ = solver.kernel(one, two, one.shape[0], (alpha, beta))
    if not bool(np.all(solver.converged)):
        raise SystemExit(f"full CI of {molecule.name} did not converge")
    return float(energy) + mole.energy_nuc()


def training_data(basis: str, exact: Exact) -> str:
    """Return the YAML file of conditions that ``examples/zoo/constrained.yaml`` trains on."""
    lines = [
        "# What the exact functional does to fractional charges and to one electron at two nuclei.",
        "#",
        "#   python examples/benchmarks/xc/one_electron.py --data examples/zoo/data/one-electron.yaml",
        "#",
        "# Energies of H and H2+ are exact in this basis (one electron: Hartree-Fock). The others",
        "# are zero by Perdew, Parr, Levy, Balduz, Phys. Rev. Lett. 49, 1691 (1982).",
        "format: deepchem_dft/1",
        "name: one electron and fractional charges",
        "source: exact in the basis; see the comment",
        f"defaults: {{basis: {basis}, unit: bohr, energy_unit: hartree}}",
        "systems:",
        "  hydrogen: {geometry: H 0 0 0, spin: 1}",
    ]
    entries = ["entries:"]
    value = exact.energy(atom("H", (1, 0), basis))
    entries.append(f"- {{name: H, type: energy, value: {value:.8f}, molecule: hydrogen}}")
    for distance in (1.8, 3.5, 5.5, 7.0):
        name = f"h2p-{distance:g}"
        lines.append(f'  {name}: {{geometry: "H 0 0 0; H 0 0 {distance}", charge: 1, spin: 1}}')
        value = exact.energy(dimer("H2+", distance, basis))
        entries.append(f"- {{name: H2+ at {distance:g}, type: energy, value: {value:.8f}, molecule: {name}}}")
    for symbol, number in (("H", 0), ("H", 1), ("He", 0), ("He", 1), ("Li", 0), ("Be", 0)):
        low, high = ATOMS[symbol][number : number + 2]
        for share in (0.3, 0.6):
            parts = [n for n in (low, between(low, high, share), high) if sum(n)]
            written = ", ".join(
                f"{{geometry: {symbol} 0 0 0, n_alpha: {a:g}, n_beta: {b:g}}}" for a, b in parts
            )
            entries.append(
                f"- {{name: {symbol} {sum(low) + share:g}e, type: fractional_charge,\n"
                f"   systems: [{written}]}}"
            )
    entries.append(
        "- {name: H without a spin, type: fractional_spin,\n   systems: "
        "[{geometry: H 0 0 0, n_alpha: 0.5, n_beta: 0.5}, hydrogen]}"
    )
    return "\n".join([*lines, *entries]) + "\n"


def deviation(energies: list[float]) -> tuple[float, float]:
    """Return mean and largest deviation (Ha) of a line from being straight between whole numbers.

    Examples
    --------
    >>> deviation([0.0, -0.3, -0.5, -0.75, -1.0])
    (0.016666666666666666, 0.04999999999999999)
    """
    step, found = len(FRACTIONS) + 1, []
    for start in range(0, len(energies) - 1, step):
        low, high = energies[start], energies[start + step]
        found += [
            abs(energies[start + 1 + i] - low - share * (high - low)) for i, share in enumerate(FRACTIONS)
        ]
    return (math.fsum(found) / len(found), max(found)) if found else (math.nan, math.nan)
