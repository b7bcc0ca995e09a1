"""Orbitals shared by parts of a molecule: bonding where they might be antibonding.

Functionals that like fractions of electrons share an orbital out among atoms far from each other. Its
sign on one of them is a matter of 1e-5 Ha, either is a minimum in each spin, and between them lies the
barrier of giving the orbital to one atom alone. But the Fock matrix tells which of them is lower.
"""

from torch import Tensor

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.search.explorer import WORTHWHILE
from deepchem_dft.scf.search.orientation import functions
from deepchem_dft.scf.search.signs import parts
from deepchem_dft.scf.search.starts import roots


def antibonding(hamiltonian: KSHamiltonian, solution: SCFSolution) -> list[tuple[float, int, int, Tensor]]:
    """Find parts whose shares of orbitals have the wrong sign.

    With a sign turned around, the density matrix between a part and the rest is, in orthogonalised
    functions, the opposite, and all else stays what it is. To first order the energy is then lower by
    four times the trace of that block with the Fock matrix's.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution

    Returns
    -------
    list of (float, int, int, Tensor)
        What is to be gained (Ha), the spin, the number of the part, and orbitals with its sign turned
        around in that spin, orthonormal, shape (nspin, nao, nmo); the largest gain first.
    """
    molecule = hamiltonian.molecule
    atoms = parts(molecule)
    if len(atoms) < 2:
        return []
    root, inverse = roots(hamiltonian.overlap)
    density = root @ solution.state.density_matrix() @ root
    fock = inverse @ solution.evaluation.fock @ inverse
    found = []
    for number, part in enumerate(atoms[1:] if len(atoms) == 2 else atoms):
        signs = density.new_ones(hamiltonian.nao)
        signs[functions(molecule, tuple(part))] = -1.0
        apart = signs[:, None] != signs  # the block and its transpose
        for spin, gain in enumerate((2.0 * density * fock * apart).sum((1, 2)).tolist()):
            if gain > WORTHWHILE:
                orbitals = solution.state.orbitals.clone()
                orbitals[spin] = inverse @ (signs[:, None] * (root @ orbitals[spin]))
                found.append((gain, spin, number, orbitals))
    return sorted(found, key=lambda row: -row[0])
