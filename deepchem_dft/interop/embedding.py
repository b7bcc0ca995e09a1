"""Fields of molecules in a solvent or among point charges, solved by PySCF."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pyscf import dft, qmmm
from pyscf.solvent.smd import solvent_db
from scipy.linalg import expm
from scipy.optimize import minimize_scalar
from torch import Tensor

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.interop.foreign import ForeignResult
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.surroundings import SOLVENT_MODELS, Surroundings
from deepchem_dft.scf import properties
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.ladder import SCFStatus
from deepchem_dft.scf.search.orientation import functions, turning_parts
from deepchem_dft.scf.state import SCFState
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import XCFunctional

#: Place of the dielectric constant among SMD's descriptors of a solvent.
_EPSILON = 5
#: Iterations after which open shells are turned, and ways to turn them: about an axis, in equal steps.
_PATIENCE, _DIRECTIONS = 60, 15


def embed(mf: Any, surroundings: Surroundings) -> Any:
    """Put a mean field of PySCF into its surroundings.

    Parameters
    ----------
    mf : pyscf mean field
        Of :func:`~deepchem_dft.interop.pyscf.to_pyscf`, or PySCF's own.
    surroundings : Surroundings
    """
    if surroundings.solvent is None:
        rows = np.array(surroundings.point_charges)
        return qmmm.mm_charge(mf, rows[:, 1:], rows[:, 0], unit="bohr")
    if surroundings.model == "smd":
        mf = mf.SMD()
        mf.with_solvent.solvent = surroundings.solvent
        return mf
    mf = mf.PCM()
    mf.with_solvent.method = SOLVENT_MODELS[surroundings.model]
    mf.with_solvent.eps = float(solvent_db[surroundings.solvent][_EPSILON])
    return mf


@dataclass(repr=False)
class EmbeddedResult(ForeignResult, properties.DensityProperties):
    """A field in surroundings; see the base class.

    Attributes
    ----------
    energy : Tensor, shape (), Ha
        That of molecule and surroundings together, without what point charges do to one another. It carries
        no gradient to the functional.
    energy_terms : dict of str to float
        As of a :class:`~deepchem_dft.scf.KSResult`, and ``solvent`` (polarisation and, of SMD, surface
        terms) or ``point_charges`` (with nuclei and electrons), Ha.
    mean_field : pyscf mean field
        Converged, for whatever else PySCF can do with it.
    cpu_seconds : float or None
        Spent by this process on it, the field without surroundings included.
    """

    energy_terms: dict[str, float] = field(default_factory=dict)
    mean_field: Any = None
    cpu_seconds: float | None = None
    stability = None
    findings = None

    @property
    def frozen(self) -> FrozenDensity:
        """For energies of other parameters at this density, without the surroundings."""
        return FrozenDensity.from_state(self.molecule.replace(surroundings=None), self.xc, self.state)

    def forces(self) -> Tensor:
        """Forces on the nuclei, shape (natom, 3), Ha/Bohr; point charges stay where they are."""
        if not self.converged:
            raise SCFNotConverged(f"no forces for {self.molecule.name}: {self.status}", self)
        gradients = self.mean_field.nuc_grad_method()
        gradients.verbose = 0
        return -torch.from_numpy(np.asarray(gradients.kernel()))


@unaffected
def run_embedded(
    molecule: Molecule,
    xc: XCFunctional,
    *,
    tol: float,
    max_iter: int,
    guess: SCFState,
    on_unconverged: str = "raise",
    watch: Callable[[float, float], None] | None = None,
) -> EmbeddedResult:
    """Solve a field in surroundings, beginning with the orbitals given.

    Parameters
    ----------
    molecule : Molecule
        With ``surroundings``.
    xc : XCFunctional
    tol, max_iter, on_unconverged
        As of :class:`~deepchem_dft.scf.KohnSham`.
    guess : SCFState
        Its treatment of spins is kept.
    watch : callable, optional
        Called with energy (Ha) and orbital gradient (a norm, Ha) of every iteration.

    Raises
    ------
    InputError
        For what PySCF cannot do: fractional electrons, point charges on top of a nucleus.
    FunctionalError
        For functionals with several ranges of exact exchange.
    SCFNotConverged
        Unless ``on_unconverged="continue"``.
    """
    from deepchem_dft.interop.pyscf import to_pyscf

    surroundings = molecule.surroundings
    assert surroundings is not None
    _check_places(molecule, surroundings)
    alone = to_pyscf(molecule.replace(surroundings=None), xc)
    if not guess.restricted and isinstance(alone, dft.rks.RKS):
        alone = alone.to_uks()
    elif guess.restricted and not isinstance(alone, dft.rks.RKS):
        guess = guess.unrestricted()
    mf = embed(alone, surroundings)
    mf.verbose = mf.mol.verbose = 0
    mf.conv_tol = max(min(1e-9, tol), 1e-12)
    mf.conv_tol_grad = 0.5 * tol  # a norm, so the largest element is no more
    if watch is not None:
        mf.callback = lambda seen: watch(float(seen["e_tot"]), float(seen["norm_gorb"]))
    matrices = guess.density_matrix().cpu().numpy()
    start = matrices[0] if guess.restricted else matrices
    iterations = 0
    while True:
        mf.max_cycle = min(max_iter - iterations, _PATIENCE)
        mf.kernel(dm0=start)
        iterations += max(int(mf.cycles), 1)
        residual = _residual(mf)
        if residual < tol or iterations >= max_iter:
            break
        start = mf.make_rdm1() if guess.restricted else _turned(molecule, mf)
    orbitals, occupations, energies = (np.asarray(x) for x in (mf.mo_coeff, mf.mo_occ, mf.mo_energy))
    if orbitals.ndim == 2:
        orbitals, occupations, energies = orbitals[None], occupations[None], energies[None]
    state = SCFState(_tensor(orbitals), _tensor(occupations))
    density = state.unrestricted().density_matrix()
    converged = residual < tol
    result = EmbeddedResult(
        molecule=molecule,
        xc=xc,
        energy=torch.tensor(float(mf.e_tot), dtype=torch.float64),
        density_matrix=density,
        orbital_energies=_tensor(energies),
        status=SCFStatus.CONVERGED if converged else SCFStatus.MAX_ITERATIONS,
        commutator=residual,
        iterations=iterations,
        state=state,
        energy_terms=_terms(molecule, mf, alone, density),
        mean_field=mf,
    )
    if not converged and on_unconverged == "raise":
        raise SCFNotConverged(
            f"PySCF did not converge for {molecule.name} in {surroundings.description} (largest "
            f"occupied-virtual Fock element {residual:.1e} Ha, wanted {tol:.0e} Ha)",
            result,
        )
    return result


def _residual(mf: Any) -> float:
    """Return the largest element of the Fock matrix between occupied and empty orbitals, Ha."""
    fock = mf.get_fock()  # of a solvent the one potential that is nowhere else
    largest = float(np.abs(mf.get_grad(mf.mo_coeff, mf.mo_occ, fock)).max(initial=0.0))
    return largest / 2 if np.ndim(mf.mo_occ) == 1 else largest  # PySCF counts both spins of a closed shell


def _turned(molecule: Molecule, mf: Any) -> np.ndarray:
    """Return density matrices with each open shell that is free to turn where its energy is lowest.

    An atom or a linear molecule has the same energy whichever way it is turned, but for the grids of
    functional and cavity, whose microhartrees DIIS follows in hundreds of steps.
    """
    best = np.array(mf.make_rdm1())
    for part in turning_parts(molecule):
        own, generators = functions(molecule, part.atoms), part.generators(molecule).numpy()

        def rotated(vector: np.ndarray, own=own, generators=generators, start=best) -> np.ndarray:
            whole = np.eye(start.shape[-1])
            whole[np.ix_(own, own)] = expm(np.tensordot(vector, generators, 1))
            return whole @ start @ whole.T

        def energy(vector: np.ndarray, rotated=rotated) -> float:
            return float(mf.energy_tot(dm=rotated(vector)))

        vectors = part.vectors()[:_DIRECTIONS].numpy()
        lowest = min([np.zeros_like(vectors[0]), *vectors], key=energy)
        if part.axis is not None:  # of one angle, whose minimum is between its neighbours
            step = np.pi / (_DIRECTIONS + 1)
            bounds = (lowest[0] - step, lowest[0] + step)
            found = minimize_scalar(
                lambda angle, energy=energy: energy(np.array([angle])),
                bounds=bounds,
                method="bounded",
                options={"xatol": 1e-4},
            )
            lowest = np.array([found.x])
        best = rotated(lowest)
    return best


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _terms(molecule: Molecule, mf: Any, alone: Any, density: Tensor) -> dict[str, float]:
    """Return what the energy is the sum of, Ha."""
    total, summary = density.sum(0), mf.scf_summary
    kinetic, attraction = properties.one_electron_energies(molecule, total)
    exact = _exact_exchange(mf, density.numpy())
    terms = {
        "kinetic": kinetic,
        "nuclear_attraction": attraction,
        "coulomb": float(np.real(summary["coul"])),
        "nuclear_repulsion": float(molecule.nuclear_repulsion),
        "exact_exchange": exact,
        "dispersion": float(summary.get("dispersion", 0.0)),
        "exchange_correlation": float(np.real(summary["exc"])) - exact,
    }
    if hasattr(mf, "mm_mol"):
        electrons = float(((mf.get_hcore() - alone.get_hcore()) * total.numpy()).sum())
        return {**terms, "point_charges": electrons + float(mf.energy_nuc() - alone.mol.energy_nuc())}
    return {**terms, "solvent": sum(float(summary.get(name, 0.0)) for name in ("e_solvent", "e_cds"))}


def _exact_exchange(mf: Any, density: np.ndarray) -> float:
    omega, long, short = mf._numint.rsh_and_hybrid_coeff(mf.xc)
    energy = 0.0
    for share, range_ in ((short, 0.0), (long - short, omega)) if omega else ((short, 0.0),):
        if share:
            matrices = mf.get_k(mf.mol, density, hermi=1, omega=range_ or None)
            energy -= 0.5 * share * float((matrices * density).sum())
    return energy


def _check_places(molecule: Molecule, surroundings: Surroundings) -> None:
    for charge, *place in surroundings.point_charges:
        nearest = float(np.linalg.norm(molecule.positions - np.array(place), axis=1).min())
        if charge and nearest < 0.1:
            raise InputError(
                f"a point charge lies {nearest:.2f} Bohr from a nucleus",
                field="point_charges",
                remedy="charges of atoms that are in the molecule do not belong in the list",
            )
