"""The contract every exchange-correlation functional obeys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.quadrature import Quadrature

if TYPE_CHECKING:
    from deepchem_dft.xc.binning import Histogram
    from deepchem_dft.xc.dispersion import Dispersion, Nuclei

#: Rows of the density tensor each family reads: density, its gradient (3), tau.
NCOMP = {"lda": 1, "gga": 4, "mgga": 5}
_RANK = {"lda": 0, "gga": 1, "mgga": 2}


def highest_family(*families: str) -> str:
    """Return the richest of several families.

    Examples
    --------
    >>> highest_family("lda", "mgga", "gga")
    'mgga'
    """
    return max(families, key=_RANK.__getitem__)


class XCFunctional(nn.Module):
    r"""Base class of all functionals: an energy that autograd can differentiate twice.

    A functional declares the density components it reads (``family``) and the exact exchange it
    wants (``exchange_terms``), and computes the semilocal energy per volume
    (:meth:`energy_density`); or, if it looks beyond single points (``needs_quadrature``), the
    energy of the density on the whole quadrature (:meth:`energy`). Potentials, kernels and forces
    come from autograd alone, so nothing else has to be written.

    Attributes
    ----------
    family : {"lda", "gga", "mgga"}
        How many rows of ``rho`` are read: 1, 4 or 5. More rows may be passed and are ignored.
    spin_symmetric : bool
        True if swapping alpha and beta leaves the energy unchanged. Only then may a closed shell
        be run restricted.
    constant : bool
        True if nothing about the functional ever changes, so that its energy at a density may be
        kept.
    needs_quadrature : bool
        True if the energy is no sum over points of what each point's density gives: ``energy`` is
        called then, and there need not be an ``energy_density``.
    grid_level : int, "coarse" or None
        With ``needs_quadrature``: level (0 to 9) of a grid of the functional's own, or that of few
        points which fields begin on; None for the molecule's.
    uniform_gas : bool
        True if it promises the energy of the uniform electron gas (Slater and PW92).
    dispersion : Dispersion or None
        Energy of pairs and triples of atoms that is part of the functional, its parameters among
        the functional's. See :attr:`dispersion_terms`.
    """

    family: str = "lda"
    spin_symmetric: bool = True
    constant: bool = False
    needs_quadrature: bool = False
    grid_level: int | str | None = None
    uniform_gas: bool = False

    dispersion: Dispersion | None

    def __init__(self) -> None:
        super().__init__()
        self.dispersion = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:  # parameters are to be trainable wherever they were made
            cls.__init__ = unaffected(cls.__init__)  # type: ignore[method-assign]

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Exact exchange as ``(coefficient, omega)`` pairs.

        ``omega=None`` is the full-range Coulomb operator, ``omega=w`` the long-range operator
        ``erf(w r)/r`` (``w`` in 1/Bohr). A coefficient may be a 0-dimensional tensor with a
        gradient. The energy added is ``-coefficient/2 * sum_s tr(D_s K[D_s])``.
        """
        return []

    @property
    def nonlocal_terms(self) -> list[XCFunctional]:
        """Parts with ``needs_quadrature``, on grids of their own if they say so.

        Their energies are added to :meth:`energy`, which leaves them out. Whoever adds functionals
        up hands on those of its parts, each with its coefficient. Their parameters are among those
        of the functional itself, and so are their exact exchange and dispersion, which is not asked of
        them. Asked anew for every evaluation, like ``exchange_terms``.
        """
        return []

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy without exact exchange and without ``nonlocal_terms``.

        Parameters
        ----------
        rho : Tensor, shape (2, ncomp, G) or (1, ncomp, G)
            As in :meth:`energy_density`.
        quadrature : Quadrature
            On the device of ``rho``. For forces its points, weights and positions carry gradients.

        Returns
        -------
        Tensor, 0-dimensional, float64
            Ha; twice differentiable in ``rho``, differentiable in parameters and quadrature.
        """
        return (self.energy_density(rho) * quadrature.weights).sum()

    def pieces(self, quadrature: Quadrature) -> list[Tensor] | None:
        """Return groups of points that do not see each other's, if the energy is a sum over such groups.

        With ``needs_quadrature``: potentials, kernels and forces are then made group by group, in
        less memory.

        Parameters
        ----------
        quadrature : Quadrature

        Returns
        -------
        list of Tensor of int64, or None
            Indices of the points of each group, every point in one; None if all see all.
        """
        return None

    @property
    def dispersion_terms(self) -> list[tuple[float | Tensor, Dispersion]]:
        """Dispersion as ``(coefficient, term)`` pairs: energies that depend on the nuclei alone.

        A coefficient may be a 0-dimensional tensor with a gradient. Whoever adds functionals up hands
        on those of its parts.
        """
        return [] if self.dispersion is None else [(1.0, self.dispersion)]

    def dispersion_at(self, systems: Sequence[Nuclei]) -> Callable[[], Tensor]:
        """Return the dispersion energies of molecules as a function of the parameters alone.

        Parameters
        ----------
        systems : sequence of Nuclei

        Returns
        -------
        callable
            Without arguments; returns Ha, shape (number of systems,), on the parameters' device.
        """
        prepared = [term.at(systems) for _, term in self.dispersion_terms]
        nothing = torch.zeros(len(systems), dtype=torch.float64)

        def energies() -> Tensor:
            total = nothing
            for (coefficient, _), energy in zip(self.dispersion_terms, prepared, strict=True):
                found = energy()
                total = total.to(found.device) + torch.as_tensor(coefficient, dtype=torch.float64) * found
            return total

        return energies

    def dispersion_gradient(self, nuclei: Nuclei) -> Tensor:
        """Return the derivative of the dispersion energy by positions, shape (natom, 3), Ha/Bohr."""
        total = torch.zeros(len(nuclei.numbers), 3, dtype=torch.float64)
        for coefficient, term in self.dispersion_terms:
            total += float(torch.as_tensor(coefficient, dtype=torch.float64).detach()) * term.gradient(nuclei)
        return total

    def dispersion_hessian(self, nuclei: Nuclei) -> Tensor:
        """Return its second derivatives, shape (natom, natom, 3, 3), Ha/Bohr^2."""
        atoms = len(nuclei.numbers)
        total = torch.zeros(atoms, atoms, 3, 3, dtype=torch.float64)
        for coefficient, term in self.dispersion_terms:
            total += float(torch.as_tensor(coefficient, dtype=torch.float64).detach()) * term.hessian(nuclei)
        return total

    def energy_density(self, rho: Tensor) -> Tensor:
        r"""Semilocal exchange-correlation energy per volume.

        Parameters
        ----------
        rho : Tensor, shape (2, ncomp, G) or (1, ncomp, G), float64
            Alpha and beta; density (1/Bohr^3), its Cartesian gradient (1/Bohr^4) and
            :math:`\tau = \frac12 \sum_i |\nabla\phi_i|^2` (Ha/Bohr^3).
            With a leading dimension of 1: the spin-summed quantities of a closed shell.

        Returns
        -------
        Tensor, shape (G,), float64
            Energy density in Ha/Bohr^3.

        Raises
        ------
        FunctionalError
            With ``needs_quadrature``: the energy is then no function of the density at a point.
        """
        if self.needs_quadrature:
            raise FunctionalError(
                f"the energy of {type(self).__name__} is no function of the density at a point",
                field="xc",
                remedy="call energy(rho, quadrature)",
            )
        raise NotImplementedError

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return :meth:`energy` of one density as a function of the parameters alone.

        For many evaluations while parameters change: what depends on the density only is computed
        here, once.

        Parameters
        ----------
        rho : Tensor, shape (2, ncomp, G) or (1, ncomp, G)
            As in :meth:`energy_density`; no gradient reaches it.
        quadrature : Quadrature

        Returns
        -------
        callable
            Without arguments; returns Ha, 0-dimensional, differentiable in the parameters.
        """
        rho = rho.detach()
        if self.constant:
            with torch.no_grad():
                energy = self.energy(rho, quadrature)
            return lambda: energy
        return lambda: self.energy(rho, quadrature)

    def histograms(
        self, rho: Tensor, weights: Tensor, widths: Sequence[float] | None = None
    ) -> dict[str, Histogram]:
        """Boil a density down to few points that give this functional's semilocal energy.

        For thousands of evaluations while parameters change. The energy is the sum over all
        histograms of ``weights * on_histogram(name, points)``.

        Parameters
        ----------
        rho : Tensor
            As in :meth:`at_density`.
        weights : Tensor, shape (G,)
            Quadrature weights, Bohr^3.
        widths : sequence of float, optional
            Coarseness, where points are merged in bins of equal width.

        Raises
        ------
        NotImplementedError
            If a kind of functional has no such form.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be boiled down")

    def on_histogram(self, name: str, points: Tensor) -> Tensor:
        """Return what the weights of a histogram are multiplied by, shape (B,)."""
        raise NotImplementedError(f"{type(self).__name__} cannot be boiled down")

    @unaffected
    def forward(self, rho: Tensor) -> Tensor:
        """Call :meth:`energy_density`."""
        return self.energy_density(rho)
