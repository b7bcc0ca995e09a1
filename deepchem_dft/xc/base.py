"""The contract every exchange-correlation functional obeys."""

from __future__ import annotations

from torch import Tensor, nn

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
    r"""Base class of all functionals: an energy density that autograd can differentiate twice.

    A functional declares the density components it reads (``family``) and the exact exchange it
    wants (``exchange_terms``), and computes the semilocal energy per volume. Potentials and
    kernels come from autograd alone, so nothing else has to be written.

    Attributes
    ----------
    family : {"lda", "gga", "mgga"}
        How many rows of ``rho`` are read: 1, 4 or 5. More rows may be passed and are ignored.
    spin_symmetric : bool
        True if swapping alpha and beta leaves the energy unchanged. Only then may a closed shell
        be run restricted.
    """

    family: str = "lda"
    spin_symmetric: bool = True

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Exact exchange as ``(coefficient, omega)`` pairs.

        ``omega=None`` is the full-range Coulomb operator, ``omega=w`` the long-range operator
        ``erf(w r)/r`` (``w`` in 1/Bohr). A coefficient may be a 0-dimensional tensor with a
        gradient. The energy added is ``-coefficient/2 * sum_s tr(D_s K[D_s])``.
        """
        return []

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
        """
        raise NotImplementedError

    def forward(self, rho: Tensor) -> Tensor:
        """Call :meth:`energy_density`."""
        return self.energy_density(rho)
