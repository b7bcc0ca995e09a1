"""What a functional on the grid is: an energy of densities, and its derivative."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import hartree_potential
from deepchem_dft.torchstate import unaffected


class LatticeFunctional(nn.Module):
    """Energy of exchange and correlation of densities on a grid.

    To write one, derive from this class and implement :meth:`energy` with differentiable
    operations. If it is to be trained, its parameters should be float64.

    Parameters
    ----------
    grid : Grid
    polarised : bool
        Whether densities have shape (B, 2, n), spin up and down, or (B, 1, n), their sum.

    Examples
    --------
    >>> class Constant(LatticeFunctional):
    ...     def energy(self, density):
    ...         return -0.1 * self.grid.integrate(density.sum(1))
    >>> xc = Constant(Grid(101, 0.1))
    >>> xc.potential(torch.ones(2, 1, 101, dtype=torch.float64))[0, 0, :3]
    tensor([-0.1000, -0.1000, -0.1000], dtype=torch.float64)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:  # parameters are to be trainable wherever they were made
            cls.__init__ = unaffected(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, grid: Grid, polarised: bool = False) -> None:
        super().__init__()
        self.grid, self.polarised = grid, polarised

    @abstractmethod
    def energy(self, density: Tensor) -> Tensor:
        """Return the energies, (B,), Hartree, of densities, (B, 1 or 2, n), electrons per Bohr."""

    def forward(self, density: Tensor) -> Tensor:
        """Return :meth:`energy`."""
        return self.energy(density)

    def potential(self, density: Tensor) -> Tensor:
        """Return the functional derivative of the energy, of the density's shape, Hartree.

        It is differentiable with respect to the density and to parameters unless gradients are
        switched off.
        """
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            if not (keep and density.requires_grad):
                density = density.detach().requires_grad_()
            (slope,) = torch.autograd.grad(
                self.energy(density).sum(), density, create_graph=keep, allow_unused=True
            )
        if slope is None:  # a functional that does not depend on the density
            slope = torch.zeros_like(density)
        return slope / self.grid.spacing

    def bind(self) -> "LatticeFunctional":
        """Return a functional for one trajectory.

        What depends on parameters alone may be computed here, once. Default: itself.
        """
        return self


class GatedXC(LatticeFunctional):
    r"""A functional given by an energy per electron, exact for one electron if so wished.

    With the self-interaction gate of the paper the energy per electron is

    .. math:: (1 - g) \epsilon(x) - \frac{g}{2} v_H(x), \quad g = e^{-((N - 1) / \sigma)^2}

    so that one electron does not interact with itself whatever :math:`\epsilon` is.

    Parameters
    ----------
    grid : Grid
    polarised : bool
    gate : bool
    gate_width : float
        Initial sigma, which is trained.

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).
    """

    def __init__(
        self, grid: Grid, polarised: bool = False, gate: bool = True, gate_width: float = 1.0
    ) -> None:
        super().__init__(grid, polarised)
        if not gate_width > 0:
            raise InputError(
                f"{gate_width!r} is not a width",
                field="gate_width",
                remedy="use a positive number of electrons, such as 1",
            )
        self.gate_width: nn.Parameter | None = (
            nn.Parameter(torch.tensor(float(gate_width), dtype=torch.float64)) if gate else None
        )

    @abstractmethod
    def per_electron(self, density: Tensor) -> Tensor:
        """Return epsilon, (B, n), Hartree per electron."""

    def energy(self, density: Tensor) -> Tensor:
        """Return the energies, (B,), Hartree."""
        total, value = density.sum(1), self.per_electron(density)
        if self.gate_width is not None:
            gate = self._gate(total, self.gate_width)
            value = (1 - gate) * value - 0.5 * gate * hartree_potential(self.grid, total)
        return self.grid.integrate(total * value)

    def _gate(self, total: Tensor, width: Tensor) -> Tensor:
        """Return g, (B, 1), of densities (B, n)."""
        excess = self.grid.integrate(total)[:, None] - 1
        return torch.exp(-((excess / width) ** 2))
