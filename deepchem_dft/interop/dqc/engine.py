"""DQC as the second opinion: the same molecule, grid and functional through another program."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.data.targets import GRIDS
from deepchem_dft.errors import DeepChemDFTError, FunctionalError, InputError, SCFNotConverged
from deepchem_dft.interop.foreign import ForeignResult
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.memory import available_bytes
from deepchem_dft.scf.ladder import SCFStatus
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.nonlocality.terms import refuse_nonlocal

__all__ = ["DQCResult", "default_grid", "dqc_available", "run_dqc"]

#: DQC keeps all nao^4 electron-repulsion integrals, and about three copies while it makes them.
_COPIES = 3


def dqc_available() -> tuple[bool, str]:
    """Say whether DQC can be used, and if not, why.

    Returns
    -------
    bool
    str
        DQC's version, or the reason and the remedy.

    Examples
    --------
    >>> available, why = dqc_available()
    >>> isinstance(available, bool) and bool(why)
    True
    """
    for name in ("dqc", "pylibxc", "xitorch", "h5py"):
        if importlib.util.find_spec(name) is None:
            return False, f"{name} is not installed (run: deepchem-dft install-dqc)"
    from deepchem_dft.interop.dqc import bridge as dqc_bridge

    if dqc_bridge.PROBLEM:
        return False, f"DQC is installed but cannot be imported: {dqc_bridge.PROBLEM}"
    import dqc

    try:
        one = torch.ones(1, dtype=torch.float64)
        dqc.Mol("H 0 0 0", basis=[dqc_bridge.CGTOBasis(angmom=0, alphas=one, coeffs=one)])
    except (OSError, AttributeError) as error:
        return False, f"DQC's native libraries cannot be loaded: {error}"
    return True, f"DQC {dqc.__version__}"


def default_grid(system: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the quadrature grid DQC makes by default, on which old density files live.

    Parameters
    ----------
    system : DFTSystem

    Returns
    -------
    points : ndarray, shape (G, 3), Bohr
    weights : ndarray, shape (G,), Bohr^3

    Raises
    ------
    InputError
        If DQC is not there.
    """
    available, why = dqc_available()
    if not available:
        raise InputError(
            f"DQC's grid is not available: {why}",
            field="grid",
            remedy="run 'deepchem-dft install-dqc', or save points, weights and density in a .npz file",
        )
    import dqc

    from deepchem_dft.interop.dqc.bridge import CGTOBasis

    one = torch.ones(1, dtype=torch.float64)
    # The grid only needs nuclei; any basis will do, and this one needs no files.
    basis = [[CGTOBasis(angmom=0, alphas=one, coeffs=one)] for _ in system.symbols]
    mole = dqc.Mol(system.moldesc, basis=basis, charge=system.charge, spin=system.spin)
    mole.setup_grid()
    grid = mole.get_grid()
    return grid.get_rgrid().numpy(), grid.get_dvolume().numpy()


GRIDS["dqc"] = default_grid


@dataclass(repr=False)
class DQCResult(ForeignResult):
    """What DQC found; see the base class.

    Attributes
    ----------
    energy : Tensor, shape (), Ha
        Differentiable with respect to the functional's parameters, by DQC's implicit derivative,
        unless the calculation did not converge.
    density_matrix : Tensor, shape (2, nao, nao)
        Differentiable likewise.
    orbital_energies : Tensor, shape (nspin, nmo), Ha
        Of the final Fock matrix; not differentiable.
    status : SCFStatus
        Measured here: DQC itself does not tell.
    """

    def forces(self) -> Tensor:
        """Not offered: DQC's forces leave out the motion of the grid."""
        raise DeepChemDFTError("forces are not available from DQC; use engine='native'")


def run_dqc(
    molecule: Molecule,
    xc: str | XCFunctional,
    *,
    restricted: bool | None = None,
    tol: float = 1e-6,
    max_iter: int = 100,
    guess: Any = None,
    on_unconverged: str = "raise",
) -> DQCResult:
    """Solve the Kohn-Sham equations with DQC.

    Basis functions, quadrature grid and functional are ours, so results differ from the native
    engine's by the two programs' errors alone. DQC's Broyden iteration is tried first, then
    Pulay's extrapolation on DQC's Fock matrices.

    Parameters
    ----------
    molecule : Molecule
    xc : str or XCFunctional
        Semilocal (LDA, GGA or meta-GGA). DQC has no exact exchange in Kohn-Sham calculations.
    restricted : bool, optional
        Default: restricted if both spins fill the same orbitals and the functional treats them
        alike.
    tol : float
        Largest Fock element between orbitals of different occupation, Ha.
    max_iter : int
        Of each of the two solvers.
    guess : optional
        A density matrix (nao, nao) or (2, nao, nao) in PySCF's orbital order, or an object with
        ``density_matrix``, such as a result or an ``SCFState``. Default: neutral atoms.
    on_unconverged : {"raise", "continue"}

    Returns
    -------
    DQCResult

    Raises
    ------
    InputError
        If DQC is not installed, or cannot do this molecule.
    FunctionalError
        For functionals with exact exchange or dispersion, or that return values that are not numbers.
    SCFNotConverged
        Unless ``on_unconverged="continue"``.
    """
    choice(on_unconverged, ("raise", "continue"), "on_unconverged")
    xc = get_xc(xc)
    available, why = dqc_available()
    if not available:
        raise InputError(
            f"engine 'dqc' cannot be used: {why}",
            field="engine",
            remedy="install DQC, or use engine='native'",
        )
    if any(isinstance(c, Tensor) or c != 0.0 for c, _ in xc.exchange_terms):
        raise FunctionalError(
            "DQC cannot add exact exchange to a Kohn-Sham calculation",
            remedy="use engine='native' for hybrid functionals",
        )
    refuse_nonlocal(xc, "DQC", "use engine='native'")
    if xc.dispersion_terms:
        raise FunctionalError(
            "DQC has no dispersion", field="xc", remedy="use engine='native', or leave the dispersion out"
        )
    restricted = _treatment(molecule, xc, restricted)
    _check_memory(molecule)
    from deepchem_dft.interop.dqc.bridge import BridgedEngine, BridgedMol, WrappedXC, diis, solve

    wrapped = WrappedXC(xc)
    differentiate = torch.is_grad_enabled() and bool(wrapped.params)
    with torch.set_grad_enabled(differentiate):
        engine = BridgedEngine(BridgedMol(molecule), wrapped, restricted=restricted)
        start = engine.unstack(_guess(molecule, guess), molecule.overlap)
        for method in ("broyden1", diis):
            dm, energy = solve(engine, start, method=method, tol=0.3 * tol, max_iter=max_iter)
            state, energies, residual = engine.examine(dm)
            if residual < tol:
                break
        density = engine.stack(dm)
    if residual >= tol:  # implicit derivatives of a state that is none mean nothing
        energy, density = energy.detach(), density.detach()
    result = DQCResult(
        molecule=molecule,
        xc=xc,
        energy=energy,
        density_matrix=density,
        orbital_energies=energies,
        status=SCFStatus.CONVERGED if residual < tol else SCFStatus.MAX_ITERATIONS,
        commutator=residual,
        iterations=engine.steps,
        state=state,
    )
    if not result.converged and on_unconverged == "raise":
        raise SCFNotConverged(
            f"DQC did not converge for {molecule.name}: the Fock matrix still couples occupied "
            f"and empty orbitals by {residual:.1e} Ha (tolerance {tol:.0e}) after "
            f"{engine.steps} steps. Try engine='native', which has more solvers",
            result,
        )
    return result


def _treatment(molecule: Molecule, xc: XCFunctional, restricted: bool | None) -> bool:
    given = molecule.occupations
    closed = molecule.nelec[0] == molecule.nelec[1] and (given is None or given[0] == given[1])
    if restricted is None:
        return closed and xc.spin_symmetric
    if restricted and not closed:
        raise InputError(
            f"{molecule.name} has unpaired electrons, or other orbitals filled with "
            "alpha than with beta electrons",
            field="restricted",
            remedy="leave 'restricted' out, or set it to false",
        )
    if restricted and not xc.spin_symmetric:
        raise InputError(
            "a functional that is not spin-symmetric cannot be run restricted",
            field="restricted",
            remedy="leave 'restricted' out, or set it to false",
        )
    return restricted


def _check_memory(molecule: Molecule) -> None:
    needed = _COPIES * 8 * molecule.nao**4
    available = available_bytes()
    if available is not None and needed > available:
        raise InputError(
            f"DQC would need about {needed / 2**30:.0f} GiB for {molecule.name} "
            f"({molecule.nao} orbitals), {available / 2**30:.0f} GiB are free",
            remedy="use a smaller basis, or engine='native'",
        )


def _guess(molecule: Molecule, guess: Any) -> Tensor:
    """Density matrices of both spins to start from, shape (2, nao, nao)."""
    if guess is None:
        guess = molecule.starting_density
    elif hasattr(guess, "density_matrix"):  # a result's is a tensor, an SCFState's a method
        guess = guess.density_matrix() if callable(guess.density_matrix) else guess.density_matrix
    dms = torch.as_tensor(guess, dtype=torch.float64).detach()
    if dms.shape[-2:] != molecule.overlap.shape or dms.ndim not in (2, 3):
        raise InputError(
            f"a guess of shape {tuple(dms.shape)} does not fit {molecule.nao} orbitals",
            field="guess",
            remedy="give a density matrix in the molecule's own basis",
        )
    total = dms if dms.ndim == 2 else dms.sum(0)
    if dms.ndim == 3 and dms.shape[0] == 2:
        return dms
    shares = torch.tensor(molecule.nelec, dtype=torch.float64) / sum(molecule.nelec)
    return shares[:, None, None] * total
