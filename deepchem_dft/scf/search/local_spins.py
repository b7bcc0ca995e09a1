"""Downhill from atoms whose local spins are given, as the user of a broken symmetry asks for."""

from collections.abc import Sequence

from deepchem_dft.errors import InputError
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, finish, orthonormal_basis, starting_density
from deepchem_dft.scf.rotations import minimise
from deepchem_dft.scf.search.starts import AtomicStart, Shares, kicked
from deepchem_dft.scf.state import occupations_of


def with_local_spins(
    hamiltonian: KSHamiltonian, spins: Sequence[float], *, tol: float, max_iter: int
) -> SCFSolution:
    """Go downhill from atoms with given local spins (2S_z), up or down.

    Raises
    ------
    InputError
        If the atoms cannot have such spins.
    """
    molecule = hamiltonian.molecule
    found = None
    if molecule.occupations is None and all(float(n).is_integer() for n in molecule.nelec):
        found = Shares(molecule).closest(spins)
    if found is None:
        raise InputError(
            f"the atoms of {molecule.name} cannot have local spins of {', '.join(f'{m:g}' for m in spins)}",
            field="broken_symmetry",
            remedy="use broken_symmetry=True, or other spins",
        )
    basis = orthonormal_basis(hamiltonian.overlap)
    fock = hamiltonian.evaluate_matrix(starting_density(hamiltonian)).fock.mean(0)
    orbitals = kicked(AtomicStart(hamiltonian, fock, basis)(*found), fock, 0)
    occupations = occupations_of(molecule, basis.shape[1], False).to(basis.device)
    lowest = minimise(hamiltonian, orbitals, occupations, tol=tol, max_evaluations=max_iter - 1)
    builds = lowest.evaluations + 1
    status = (
        SCFStatus.CONVERGED
        if lowest.converged
        else SCFStatus.MAX_ITERATIONS
        if builds >= max_iter
        else SCFStatus.STALLED
    )
    return finish(
        hamiltonian,
        lowest.orbitals,
        occupations,
        lowest.evaluation,
        lowest.residual,
        builds,
        status,
        lowest.history,
    )
