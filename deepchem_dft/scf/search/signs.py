"""What a solution looks like: signs that it may not be the ground state, and words for them."""

import math
from dataclasses import dataclass, field

import numpy as np

from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.molecule.integrals import COVALENT_RADII
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.state import gap_of
from deepchem_dft.units import HARTREE_TO_EV

#: Atoms further apart than this many times their covalent radii are not bonded; and those that are, but
#: so loosely that their spins may have come apart.
_STRETCHED, _LOOSE = 1.75, 1.25
#: Gaps (Ha) below which a solution is suspect: for its own sake, how much more with all of exact
#: exchange, which opens gaps, how much more if it consists of fragments, and if its spins
#: need not be paired but are.
_TINY, _OPENED, _FRAGMENTS, _FREE = 0.1, 0.4, 0.2, 0.2
#: A hole, Ha; and a negative gap that shows when it is printed.
HOLE, _VISIBLE = 0.01, 1e-5
#: Holes (Ha) of an atom's ground state are smaller: up to 0.016 (LDA, Ar+ in a minimal basis), where
#: those of other terms (singlets of C, O, Si, S) begin at 0.04.
_OPEN_SHELL = 0.025


@dataclass
class Findings:
    """What a search has looked at and found.

    Attributes
    ----------
    signs : list of str
        Why it was searched; empty if it was not.
    lowered : float
        How far below the first solution the final one lies, Ha.
    unrestricted : float or None
        Energy (Ha) of an unrestricted solution below a restricted one.
    unfinished : float or None
        Energy (Ha) below the solution's that was met, but where no field converged.
    mode : float or None
        Lowest eigenvalue (Ha) of the orbital Hessian, where stability was tested.
    builds : int
        Fock builds of all starts.
    tried : dict of str to (int, int, int)
        By kind of start: how many were tried, their Fock builds, and how many led further down.
    """

    signs: list[str] = field(default_factory=list)
    lowered: float = 0.0
    unrestricted: float | None = None
    unfinished: float | None = None
    mode: float | None = None
    builds: int = 0
    tried: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def note(self, kind: str, builds: int, lower: bool) -> None:
        """Count a start."""
        number, spent, lowered = self.tried.get(kind, (0, 0, 0))
        self.tried[kind] = (number + 1, spent + builds, lowered + lower)
        self.builds += builds


def spin_gaps(solution: SCFSolution) -> list[float]:
    """Lowest empty minus highest occupied level of each spin, Ha (infinite if there is no one)."""
    gaps = []
    for e, f in zip(solution.energies, solution.state.occupations > 1e-10, strict=True):
        there = bool(f.any()) and not bool(f.all())
        gaps.append(float(e[~f].min() - e[f].max()) if there else math.inf)
    return gaps


def parts(molecule: Molecule, bond: float = _STRETCHED) -> list[list[int]]:
    """Atoms of each part that no bond of about ordinary length holds together with the others.

    Bonds may be as long as ``bond`` times the covalent radii.
    """
    radii = np.array([COVALENT_RADII[NUCLEAR_CHARGE[s]] for s in molecule.symbols])
    distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
    bonded = distances < bond * (radii[:, None] + radii)
    part = list(range(len(radii)))
    for i, j in zip(*bonded.nonzero()):
        if part[i] != part[j]:
            old, new = part[j], part[i]
            part = [new if p == old else p for p in part]
    return [[i for i, p in enumerate(part) if p == label] for label in dict.fromkeys(part)]


def stretched(molecule: Molecule) -> bool:
    """Whether bonds that hold a molecule together are longer than they are as a rule."""
    return len(parts(molecule, _LOOSE)) > 1


def fragments(molecule: Molecule) -> int:
    """Count the parts of a molecule."""
    return len(parts(molecule))


def closest(molecule: Molecule) -> float:
    """Shortest distance between atoms of different parts, Bohr (infinite if there is one part)."""
    distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
    label = np.zeros(len(distances), dtype=int)
    for number, atoms in enumerate(parts(molecule)):
        label[atoms] = number
    return float(distances[label[:, None] != label].min(initial=math.inf))


def signs_of(hamiltonian: KSHamiltonian, solution: SCFSolution) -> dict[str, str]:
    """Return signs of trouble in words, by kind (``hole``, ``tiny``, ``free``, ...)."""
    found: dict[str, str] = {}
    molecule, limit = hamiltonian.molecule, suspect(hamiltonian)
    gap = min(spin_gaps(solution))
    # Open shells of atoms have small holes in their ground states; large ones have been filled.
    if gap < -HOLE and len(molecule.symbols) > 1:
        found["hole"] = f"an empty orbital lies {-gap:.4f} Ha below an occupied one"
    elif gap < limit:
        found["tiny"] = f"a gap of {gap:.4f} Ha"
    if not hamiltonian.restricted and molecule.spin == 0 and gap < _FREE + limit:
        found["free"] = "spins that are free to separate"
    parts = fragments(molecule)
    if parts > 1 and gap < _FRAGMENTS + limit:
        found["apart"] = f"{parts} fragments"
    elif solution.lost and len(molecule.symbols) > 1 and gap < limit:
        found["lost"] = "an extrapolation that came nowhere near"
    return found


def turns(hamiltonian: KSHamiltonian) -> bool:
    """Whether it matters where open shells point: for atoms, and on the coarsest grid."""
    molecule = hamiltonian.molecule
    return len(molecule.symbols) == 1 or (molecule.grid_level == 0 and not hamiltonian.restricted)


def suspect(hamiltonian: KSHamiltonian) -> float:
    """Gap (Ha) below which other fillings are looked at: exact exchange opens gaps."""
    exact = sum(c for c, omega in hamiltonian.exchange_terms() if omega is None)
    return (1 + turns(hamiltonian)) * _TINY + _OPENED * min(max(exact, 0.0), 1.0)


def remarks(molecule: Molecule, solution: SCFSolution, findings: Findings) -> tuple[str, ...]:
    """Return what should be said wherever the energy of a solution is."""
    found = []
    same = min(spin_gaps(solution))
    small = _VISIBLE
    if len(molecule.symbols) == 1:
        small = _OPEN_SHELL
    elif molecule.spin and findings.signs:  # degenerate shells (Cl2+, S2+), where nothing lower was found
        small = HOLE
    if same < -small:
        found.append(
            f"an empty orbital lies {-same * HARTREE_TO_EV:.3f} eV below an occupied "
            "one of the same spin: perhaps an excited state"
        )
    elif (gap := gap_of(solution.energies, solution.state.occupations)) < min(same, 0.0) - _VISIBLE:
        found.append(
            f"an empty orbital lies {-gap * HARTREE_TO_EV:.3f} eV below an occupied one "
            f"of the other spin: another spin than 2S = {molecule.spin:g} may be lower"
        )
    if findings.unrestricted is not None:
        lower = solution.evaluation.energy - findings.unrestricted
        found.append(
            f"an unrestricted solution lies {lower:.5f} Ha below this restricted one, at "
            f"{findings.unrestricted:.5f} Ha"
        )
    if findings.unfinished is not None:
        lower = solution.evaluation.energy - findings.unfinished
        found.append(f"energies {lower:.5f} Ha lower were met, but no field converged there")
    return tuple(found)
