"""DQC's building blocks filled with our molecules, grids and functionals."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.func import functional_call

from deepchem_dft.equilibrium import DIIS
from deepchem_dft.errors import FunctionalError, InputError

# PySCF, which this imports, must be loaded before DQC: both bring a libcgto.so and a
# libnp_helper.so, and the loader knows libraries by name. DQC runs on PySCF's libnp_helper, while
# PySCF cannot run on DQC's older one.
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.rotations import canonicalise, off_block
from deepchem_dft.scf.state import SCFState, occupations_of

try:
    from dqc.grid.base_grid import BaseGrid
    from dqc.hamilton.orbconverter import OrbitalOrthogonalizer
    from dqc.qccalc.ks import _KSEngine
    from dqc.qccalc.scf_qccalc import SCF_QCCalc
    from dqc.system.mol import Mol
    from dqc.utils.datastruct import CGTOBasis, SpinParam, ValGrad
    from dqc.xc.base_xc import BaseXC

    #: Why DQC cannot be imported; empty if it can.
    PROBLEM = ""
except (ImportError, OSError, AttributeError) as error:
    PROBLEM = str(error)
    BaseGrid = BaseXC = Mol = _KSEngine = object  # so that this file can be read without DQC

_FAMILY = {"lda": 1, "gga": 2, "mgga": 4}  # libxc's numbers, which DQC uses
#: Overlap eigenvalues below this are dropped, as in the native engine. (DQC's own 1e-6 discards
#: functions of the larger basis sets, and with them some 1e-5 Ha.)
LINEAR_DEPENDENCE = 1e-8


class FixedGrid(BaseGrid):
    """A quadrature grid given by its points and weights."""

    def __init__(self, points: Tensor, weights: Tensor) -> None:
        self.points, self.weights = points, weights

    dtype = property(lambda self: self.points.dtype)
    device = property(lambda self: self.points.device)
    coord_type = "cart"

    def get_rgrid(self) -> Tensor:
        """Points, shape (G, 3), Bohr."""
        return self.points

    def get_dvolume(self) -> Tensor:
        """Weights, shape (G,), Bohr^3."""
        return self.weights

    def getparamnames(self, methodname: str, prefix: str = "") -> list[str]:
        """Name the tensors a method reads, for xitorch."""
        return [prefix + {"get_rgrid": "points", "get_dvolume": "weights"}[methodname]]


class WrappedXC(BaseXC):
    """One of our functionals as DQC wants it, its trainable parameters visible to xitorch.

    xitorch replaces parameters by plain tensors while it differentiates, which ``nn.Module``
    forbids; so they are kept in a list here and handed to the module with every call.
    """

    def __init__(self, xc) -> None:
        self.xc = xc
        trainable = {n: p for n, p in xc.named_parameters() if p.requires_grad}
        self.names, self.params = list(trainable), list(trainable.values())

    @property
    def family(self) -> int:
        """Number of the family in libxc: 1, 2 or 4."""
        return _FAMILY[self.xc.family]

    def _rho(self, info: ValGrad) -> Tensor:
        rows = [info.value[None]]
        if self.xc.family != "lda":
            rows.append(info.grad)  # (3, G)
        if self.xc.family == "mgga":
            rows.append(info.kin[None])  # DQC's is 1/2 sum |grad phi|^2, as ours
        return torch.cat(rows)

    def _gather(self, densinfo) -> Tensor:
        if isinstance(densinfo, SpinParam):
            return torch.stack([self._rho(densinfo.u), self._rho(densinfo.d)])
        return self._rho(densinfo)[None]

    def _energy(self, rho: Tensor) -> Tensor:
        energy = functional_call(self.xc, dict(zip(self.names, self.params, strict=True)), (rho,))
        if not torch.isfinite(energy.detach()).all():
            raise FunctionalError(
                "the functional returned energies that are not numbers",
                remedy="look for NaN in the network's weights, or for a division by zero density",
            )
        return energy

    def get_edensityxc(self, densinfo) -> Tensor:
        """Energy per volume, shape (G,)."""
        return self._energy(self._gather(densinfo))

    def get_vxc(self, densinfo):
        """Derivative of the energy density with respect to everything in ``densinfo``."""
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            rho = self._gather(densinfo)
            if not rho.requires_grad:
                rho = rho.detach().requires_grad_()
            energy = self._energy(rho).sum()
            slope = None
            if energy.requires_grad:  # a functional that ignores its input has no graph
                (slope,) = torch.autograd.grad(energy, rho, create_graph=keep, allow_unused=True)
            if slope is None:
                slope = torch.zeros_like(rho)

        def back(row: Tensor) -> ValGrad:
            grad = row[1:4] if row.shape[0] > 1 else None
            if row.shape[0] < 5:
                return ValGrad(value=row[0], grad=grad)
            return ValGrad(value=row[0], grad=grad, lapl=torch.zeros_like(row[0]), kin=row[4])

        if isinstance(densinfo, SpinParam):
            return SpinParam(u=back(slope[0]), d=back(slope[1]))
        return back(slope[0])

    def getparamnames(self, methodname: str, prefix: str = "") -> list[str]:
        """Name the tensors a method reads, for xitorch."""
        return [f"{prefix}params[{i}]" for i in range(len(self.params))]


class BridgedMol(Mol):
    """A DQC molecule with our basis functions, occupations and grid."""

    def __init__(self, molecule: Molecule) -> None:
        mole = molecule.pyscf_mol
        if mole.has_ecp() or mole.cart:
            raise InputError(
                "DQC knows neither effective core potentials nor Cartesian shells",
                field="basis",
                remedy="use an all-electron basis, or engine='native'",
            )
        self._fixed = FixedGrid(molecule.points, molecule.weights)
        filled = max(1, math.ceil(max(molecule.nelec)), *map(len, molecule.occupations or ()))
        weights = occupations_of(molecule, filled, restricted=False)
        if bool((weights.diff(dim=-1) > 0).any()):
            raise InputError(
                f"DQC fills orbitals from below, and the occupations of {molecule.name} leave holes",
                field="occupations",
                remedy="list occupations that never rise, or use engine='native'",
            )
        charges = torch.tensor(mole.atom_charges(), dtype=torch.int64)
        positions = torch.tensor(mole.atom_coords(), dtype=torch.float64)
        super().__init__((charges, positions), basis=shells(mole), orb_weights=SpinParam(*weights))
        self._hamilton._orthozer = OrbitalOrthogonalizer(molecule.overlap, threshold=LINEAR_DEPENDENCE)

    def setup_grid(self) -> None:
        """Take the molecule's grid instead of making one."""
        self._grid = self._fixed


class BridgedEngine(_KSEngine):
    """DQC's Kohn-Sham engine, counting its steps.

    (DQC's own ``KS`` class drops its argument ``restricted``; the engine under it does not.)
    """

    steps = 0

    def scp2scp(self, scp: Tensor) -> Tensor:
        """From a Fock matrix to the next one."""
        self.steps += 1
        return super().scp2scp(scp)

    @property
    def orthogonaliser(self) -> Tensor:
        """Orthonormal functions in terms of atomic orbitals, shape (nao, nmo)."""
        return self.hamilton._orthozer._orthozer

    def stack(self, dm) -> Tensor:
        """Density matrices of both spins in the atomic-orbital basis, shape (2, nao, nao)."""
        pair = [dm.u, dm.d] if isinstance(dm, SpinParam) else [0.5 * dm, 0.5 * dm]
        x = self.orthogonaliser
        return torch.stack([x @ d @ x.T for d in pair])

    def unstack(self, dms: Tensor, overlap: Tensor):
        """Inverse of :meth:`stack`, as DQC's starting point."""
        x = overlap @ self.orthogonaliser
        up, down = x.T @ dms[0] @ x, x.T @ dms[1] @ x
        return SpinParam(u=up, d=down) if self.polarized else up + down

    @torch.no_grad()
    def examine(self, dm) -> tuple[SCFState, Tensor, float]:
        """Measure how self-consistent a density matrix is.

        Returns
        -------
        SCFState
            Canonical orbitals of the density matrix, and their occupations.
        Tensor, shape (nspin, nmo)
            Orbital energies, Ha.
        float
            Largest Fock element between orbitals of different occupation, Ha: 0 for a solution.
        """
        fock = self.dm2scp(dm)
        if self.polarized:
            density, weights = torch.stack([dm.u, dm.d]), [self.orb_weight.u, self.orb_weight.d]
        else:
            density, weights, fock = dm[None], [self.orb_weight], fock[None]
        filled = torch.zeros(density.shape[:2], dtype=density.dtype)
        for row, weight in zip(filled, weights, strict=True):
            row[: len(weight)] = weight
        natural = torch.linalg.eigh(density).eigenvectors.flip(-1)  # most occupied first
        fock_mo = natural.mT @ fock @ natural
        rotation, energies = canonicalise(fock_mo, filled)
        orbitals = self.orthogonaliser @ natural @ rotation
        return SCFState(orbitals, filled), energies, off_block(fock_mo, filled)


def shells(mole) -> list[list[CGTOBasis]]:
    """Copy PySCF's basis functions, in PySCF's order, so that no permutation is needed.

    PySCF and DQC both hand contraction coefficients with the norm of the primitives included to
    libcint, so they are taken as they are.
    """
    atoms = []
    for atom in range(mole.natm):
        mine = []
        for shell in mole.atom_shell_ids(atom):
            exponents = torch.tensor(mole.bas_exp(shell), dtype=torch.float64)
            for column in mole._libcint_ctr_coeff(shell).T:
                mine.append(
                    CGTOBasis(
                        angmom=int(mole.bas_angular(shell)),
                        alphas=exponents,
                        normalized=True,
                        coeffs=torch.tensor(column.copy(), dtype=torch.float64),
                    )
                )
        atoms.append(mine)
    return atoms


def diis(fcn, y0: Tensor, params=(), *, f_tol: float, maxiter: int, **unused) -> Tensor:
    """Solve ``fcn(y) = y - f(y) = 0`` by Pulay's extrapolation; a method for xitorch."""
    del unused
    extrapolation = DIIS()
    y, best, best_norm = y0, y0, math.inf
    for _ in range(maxiter):
        error = fcn(y, *params)
        norm = float(error.norm())
        if norm < best_norm:
            best, best_norm = y, norm
        if norm < f_tol:
            break
        y = extrapolation.update(y - error, error)
    return best


def solve(engine: BridgedEngine, start, *, method, tol: float, max_iter: int):
    """Run DQC's self-consistent iteration once; return its density matrix and its energy.

    The energy carries xitorch's implicit derivative if gradients are enabled.
    """
    calculation = SCF_QCCalc(engine)
    with warnings.catch_warnings():  # whether it converged is measured, not believed
        warnings.simplefilter("ignore")
        calculation.run(
            dm0=start, fwd_options={"method": method, "maxiter": max_iter, "f_tol": tol, "x_tol": math.inf}
        )
        return calculation.aodm(), calculation.energy()
