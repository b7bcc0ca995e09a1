"""What PySCF asks of a library of functionals and of integration on the grid, answered for ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pyscf.dft import numint

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.interop.derivatives import derivatives
from deepchem_dft.interop.nonlocal_parts import NonlocalIntegration
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.nonlocality.terms import has_nonlocal_part, refuse_nonlocal

#: Highest derivative PySCF asks for: the third, in forces of excited states.
_MOST_DERIVATIVES = 3
#: Densities below this (1/Bohr^3) have no energy per electron; it would not count anyway.
_NOTHING = 1e-30


class FunctionalLibrary:
    """What PySCF asks ``libxc`` about a functional, answered for one of ours."""

    __name__ = "deepchem_dft"
    __version__ = ""
    __reference__ = ""

    def __init__(self, functional: XCFunctional) -> None:
        self.functional = functional
        if isinstance(functional, Libxc):
            self.label = functional.code
        else:  # no libxc can read this: whatever passes the adapter by fails instead of erring
            self.label = f"deepchem_dft:{type(functional).__name__}"
        self.exchange()  # a wrong one is reported here, before any SCF

    def check(self, xc_code: Any) -> None:
        """Raise unless PySCF means this functional."""
        if str(xc_code).lower() != self.label.lower():  # PySCF lowers some names itself
            raise InputError(
                f"this calculation runs {self.label}, not '{xc_code}'",
                field="xc",
                remedy="make another one for another functional, and leave mf.xc and mf.nlc alone",
            )

    @unaffected
    def exchange(self) -> tuple[float, float, float]:
        """Return omega (1/Bohr), the share of long-range and of short-range exact exchange."""
        full, long, omega = 0.0, 0.0, 0.0
        for coefficient, range_ in self.functional.exchange_terms:
            share = float(torch.as_tensor(coefficient, dtype=torch.float64).detach())
            if share == 0.0:
                continue
            if range_ is None:
                full += share
                continue
            if omega not in (0.0, range_):
                raise FunctionalError(
                    f"PySCF has one range of exact exchange, this functional has {omega:g} and "
                    f"{range_:g} 1/Bohr",
                    field="functional",
                    remedy="use KohnSham for it; if it is one omega that is trained, hold_omega of "
                    "deepchem_dft.xc.ranges holds it",
                )
            omega, long = float(range_), long + share
        return omega, full + long, full

    def xc_type(self, xc_code: Any) -> str:
        """Return LDA, GGA or MGGA."""
        self.check(xc_code)
        return self.functional.family.upper()

    def is_lda(self, xc_code: Any) -> bool:
        """Tell whether only the density is read."""
        return self.xc_type(xc_code) == "LDA"

    def is_gga(self, xc_code: Any) -> bool:
        """Tell whether density and gradient are read."""
        return self.xc_type(xc_code) == "GGA"

    def is_meta_gga(self, xc_code: Any) -> bool:
        """Tell whether tau is read too."""
        return self.xc_type(xc_code) == "MGGA"

    def is_hybrid_xc(self, xc_code: Any) -> bool:
        """Tell whether there is exact exchange of any range."""
        self.check(xc_code)
        return any(self.exchange()[1:])

    def is_nlc(self, xc_code: Any) -> bool:
        """Tell whether there is nonlocal correlation; there never is."""
        self.check(xc_code)
        return False

    def nlc_coeff(self, xc_code: Any) -> tuple:
        """Return the parameters of nonlocal correlation: none."""
        self.check(xc_code)
        return ()

    def needs_laplacian(self, xc_code: Any) -> bool:
        """Tell whether the Laplacian is read; it never is."""
        self.check(xc_code)
        return False

    def rsh_coeff(self, xc_code: Any) -> tuple[float, float, float]:
        """Return omega, the long-range share, and the short-range share less that."""
        self.check(xc_code)
        omega, long, short = self.exchange()
        return omega, long, short - long

    def hybrid_coeff(self, xc_code: Any, spin: int = 0) -> float:
        """Return the share of exact exchange at short range."""
        self.check(xc_code)
        return self.exchange()[2]

    def max_deriv_order(self, xc_code: Any) -> int:
        """Return the highest order of derivatives there is."""
        self.check(xc_code)
        return _MOST_DERIVATIVES

    def test_deriv_order(self, xc_code: Any, deriv: int, raise_error: bool = False) -> bool:
        """Tell (or insist) that there are derivatives of an order."""
        enough = deriv <= self.max_deriv_order(xc_code)
        if raise_error and not enough:
            raise FunctionalError(
                f"{self.label} has no derivatives of order {deriv}",
                field="functional",
                remedy="build it as a HybridXC, or on 'native:pbe' instead of a libxc functional",
            )
        return enough


class FunctionalNumInt(numint.NumInt):
    """PySCF's integration on the grid with a functional of ours."""

    def __init__(self, functional: XCFunctional, library: FunctionalLibrary) -> None:
        super().__init__()
        self.functional, self.libxc = functional, library
        self.nonlocal_parts = NonlocalIntegration(functional) if has_nonlocal_part(functional) else None
        self._added = self.nonlocal_parts is None  # whether the nonlocal parts are being seen to

    @contextmanager
    def adding_nonlocal_parts(self) -> Iterator[None]:
        """Let PySCF integrate what is local: the caller adds the rest."""
        before, self._added = self._added, True
        try:
            yield
        finally:
            self._added = before

    def nr_rks(self, mol: Any, grids: Any, xc_code: Any, dms: Any, *args: Any, **kwargs: Any) -> Any:
        """Return electrons, energy and potential matrix of spin-summed density matrices."""
        with self.adding_nonlocal_parts():
            count, energy, matrix = super().nr_rks(mol, grids, xc_code, dms, *args, **kwargs)
        if self.nonlocal_parts is None:
            return count, energy, matrix
        return count, *self._completed(mol, grids, np.asarray(dms)[None], energy, matrix[None], 0)

    def nr_uks(self, mol: Any, grids: Any, xc_code: Any, dms: Any, *args: Any, **kwargs: Any) -> Any:
        """Return electrons, energy and potential matrices of density matrices of both spins."""
        with self.adding_nonlocal_parts():
            count, energy, matrix = super().nr_uks(mol, grids, xc_code, dms, *args, **kwargs)
        if self.nonlocal_parts is None:
            return count, energy, matrix
        both = np.asarray(dms)
        if both.ndim == 2:  # of a closed shell, as PySCF's own takes it
            both = np.stack([0.5 * both, 0.5 * both])
        return count, *self._completed(mol, grids, both, energy, matrix, slice(None))

    @unaffected
    def _completed(
        self, mol: Any, grids: Any, dms: np.ndarray, energy: Any, matrix: np.ndarray, spins: Any
    ) -> tuple[Any, np.ndarray]:
        """Add the nonlocal parts for each of a set of density matrices, (nspin, [n,] nao, nao)."""
        assert self.nonlocal_parts is not None
        sets = dms[:, None] if dms.ndim == 3 else dms
        found = [self.nonlocal_parts.potential(mol, grids, sets[:, k]) for k in range(sets.shape[1])]
        energies = np.array([e for e, _ in found])
        matrices = np.stack([v for _, v in found], axis=1).reshape(matrix.shape)
        return energy + (energies[0] if dms.ndim == 3 else energies), (matrix + matrices)[spins]

    @unaffected
    def eval_xc_eff(
        self,
        xc_code: Any,
        rho: Any,
        deriv: int = 1,
        omega: float | None = None,
        xctype: str | None = None,
        verbose: Any = None,
        spin: int | None = None,
    ) -> list[np.ndarray | None]:
        """Energy per electron and its derivatives in the variables PySCF integrates.

        Parameters
        ----------
        rho : array, shape (ncomp, G), (2, ncomp, G), or (G,), (2, G) for an LDA
            Total density, or one per spin: density, gradient and, as the last row, tau.
        deriv : int
            Highest order of derivatives, up to 3.

        Returns
        -------
        list of 4 ndarrays, None beyond ``deriv``
            Energy per electron (G,), Ha; then derivatives of the energy per volume, of shape
            (ncomp, G), (ncomp, ncomp, G) ... or (2, ncomp, G), (2, ncomp, 2, ncomp, G) ...
        """
        self.libxc.test_deriv_order(xc_code, deriv, raise_error=True)
        self._no_omega(omega)
        if deriv > 1 or not self._added:
            refuse_nonlocal(
                self.functional,
                "this part of PySCF (responses, excitations, Hessians)",
                "use energies and forces, which have it, or KohnSham for responses",
            )
        rho = np.asarray(rho, dtype=float)
        polarised = bool(spin) if spin is not None else rho.ndim >= 2 and rho.shape[0] == 2
        if not polarised:
            check_restricted(self.functional)
        rows = NCOMP[self.functional.family]
        rho = rho.reshape(2 if polarised else 1, -1, rho.shape[-1])
        if rows == 5:  # older PySCF puts the Laplacian before tau
            rho = rho[:, [0, 1, 2, 3, -1]]
        rho = np.ascontiguousarray(rho[:, :rows])
        orders = derivatives(self.functional, rho, deriv)
        density = rho[:, 0].sum(0)
        present = np.abs(density) > _NOTHING
        energy = np.divide(orders[0], density, out=np.zeros_like(density), where=present)
        # one axis of variables becomes spin and component
        variables = (2, rows) if polarised else (rows,)
        found: list[np.ndarray | None] = [energy]
        for order, values in enumerate(orders[1:], 1):
            found.append(values.reshape(*variables * order, density.size))
        return found + [None] * (_MOST_DERIVATIVES - deriv)

    def eval_xc(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: derivatives by the squared gradient, which PySCF has all but left."""
        raise FunctionalError(
            "this part of PySCF asks for derivatives by the squared gradient, which are not available",
            field="functional",
            remedy="use a functional of PySCF's own there",
        )

    eval_xc1 = eval_xc

    def rsh_and_hybrid_coeff(self, xc_code: Any, spin: int = 0) -> tuple[float, float, float]:
        """Return omega, the long-range and the short-range share of exact exchange."""
        self.libxc.check(xc_code)
        self._no_omega(None)
        return self.libxc.exchange()

    def _no_omega(self, omega: float | None) -> None:
        if omega is not None or self.omega is not None:
            raise InputError(
                "omega is set, but the range separation belongs to the functional",
                field="omega",
                remedy="leave mf.omega alone",
            )

    def to_gpu(self) -> Any:
        """Not offered, see :func:`to_pyscf`."""
        raise InputError(
            "GPU4PySCF evaluates functionals in kernels of its own, without this adapter",
            field="mf",
            remedy="stay on the CPU; the functional itself runs on the device of its parameters",
        )


def check_restricted(functional: XCFunctional) -> None:
    if not functional.spin_symmetric:
        raise FunctionalError(
            "a functional that is not spin-symmetric cannot be run restricted",
            field="functional",
            remedy="use dft.UKS(mol)",
        )
