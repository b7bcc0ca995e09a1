"""A functional on its quadrature grids: from density matrices to potential matrices, and back."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from deepchem_dft.molecule.grid import Block, MolecularGrid
from deepchem_dft.scf.parts import Quadratures, components, shifted_blocks
from deepchem_dft.xc.base import XCFunctional


class XCQuadrature:
    """Exchange-correlation of one functional but for exact exchange, and its derivatives.

    Parameters
    ----------
    xc : XCFunctional
    grids : sequence of MolecularGrid
        Points, weights and atomic orbitals at them. Where the parts of a functional are on several
        grids, the points of densities and potentials run through all of them.
    places : dict
        Which of them a part is on, by its ``grid_level``; see :func:`~deepchem_dft.scf.parts.grids_of`.
    nao : int
        Atomic orbitals.
    nspin : int
        1 for spin-summed densities, 2 for a channel per spin.
    device : torch.device
        Where matrices live.

    Attributes
    ----------
    quadratures : Quadratures
        What the functional sees of the grids.
    """

    def __init__(
        self,
        xc: XCFunctional,
        grids: Sequence[MolecularGrid],
        places: Mapping[int | str | None, int],
        nao: int,
        nspin: int,
        device: torch.device,
    ) -> None:
        self.xc, self.grids, self.nao, self.nspin, self.device = xc, list(grids), nao, nspin, device
        self.ncomp = components(xc)
        self.quadratures = Quadratures([g.quadrature.to(device) for g in self.grids], dict(places))

    @property
    def grid(self) -> MolecularGrid:
        """That of the functional itself, without its nonlocal terms."""
        return self.grids[0]

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of all points, shape (G,), Bohr^3."""
        return self.quadratures.weights

    # -- linear maps between matrices and grid ------------------------------------------------

    def _blocks(self) -> Iterable[Block]:
        """Atomic orbitals the functional needs, in blocks of points."""
        return shifted_blocks(self.grids, 0 if self.ncomp == 1 else 1, self.device)

    def _empty_density(self) -> Tensor:
        shape = self.nspin, self.ncomp, self.quadratures.size
        return torch.empty(shape, dtype=torch.float64, device=self.device)

    def density_of_orbitals(self, orbitals: Tensor, occupations: Tensor) -> Tensor:
        """Density components from occupied orbitals, shape (nspin, ncomp, G)."""
        occupied = occupied_of(orbitals, occupations)
        sizes = [c.shape[1] for c in occupied]
        # Orbitals as rows, one after the other in memory: the product is a third cheaper.
        both = torch.cat([c.mT for c in occupied])
        rho = self._empty_density()
        for rows, columns, ao in self._blocks():
            phi = (both if columns is None else both[:, columns]) @ ao.flatten(0, 1).mT
            for s, p in enumerate(phi.unflatten(1, ao.shape[:2]).split(sizes)):
                rho[s, :4, rows] = (p[:, :1] * p).sum(0)
                if self.ncomp > 4:
                    rho[s, 4, rows] = 0.5 * p[:, 1:].square().sum((0, 1))
        rho[:, 1:4] *= 2.0
        return rho

    def density_of_matrix(self, matrices: Tensor) -> Tensor:
        """Density components of symmetric matrices (linear), shape (nspin, ncomp, G)."""
        rho = self._empty_density()
        for rows, columns, ao in self._blocks():
            for s in range(self.nspin):
                matrix = matrices[s]
                if columns is not None:
                    matrix = matrix[columns[:, None], columns]
                x = ao[0] @ matrix
                rho[s, 0, rows] = (x * ao[0]).sum(1)
                if self.ncomp > 1:
                    rho[s, 1:4, rows] = 2.0 * torch.einsum("gi,xgi->xg", x, ao[1:])
                if self.ncomp > 4:
                    rho[s, 4, rows] = 0.5 * ((ao[1:] @ matrix) * ao[1:]).sum((0, 2))
        return rho

    def matrix_of_potential(self, weighted: Tensor) -> Tensor:
        """Adjoint of :meth:`density_of_matrix`: weighted potential to matrix.

        Parameters
        ----------
        weighted : Tensor, shape (nspin, ncomp, G)
            Potential of each density component times quadrature weight.

        Returns
        -------
        Tensor, shape (nspin, nao, nao)
        """
        half = torch.zeros(self.nspin, self.nao, self.nao, dtype=torch.float64, device=self.device)
        for rows, columns, ao in self._blocks():
            for s in range(self.nspin):
                w = weighted[s, :, rows, None]
                # Half of the symmetric result: the other half is its transpose.
                left = 0.5 * w[0] * ao[0]
                for slope, component in zip(w[1:4], ao[1:]):
                    left.addcmul_(slope, component)
                part = half[s] if columns is None else ao.new_zeros(len(columns), len(columns))
                part.addmm_(ao[0].mT, left)
                # parts on grids of their own may see no tau
                if self.ncomp > 4 and (len(self.grids) == 1 or bool(w[4].any())):
                    for component in ao[1:]:
                        part.addmm_(component.mT, torch.mul(0.25 * w[4], component, out=left))
                if columns is not None:
                    half[s].index_put_((columns[:, None], columns), part, accumulate=True)
        return half + half.mT

    # -- exchange-correlation -----------------------------------------------------------------

    def xc_energy(self, rho: Tensor) -> Tensor:
        """All but exact exchange, Ha; differentiable in ``rho`` and parameters."""
        total = rho.new_zeros(())
        for part, rows, quadrature in self.quadratures.blocks(self.xc):
            total = total + part.energy(rho[:, :, rows], quadrature)
        return total

    def xc_potential(self, rho: Tensor, slopes: bool = False) -> tuple[float, Tensor, list[Tensor] | None]:
        """Energy (Ha) and its derivative with respect to every density component (weighted).

        With ``slopes`` also the derivative with respect to every trainable parameter: one walk
        through the network gives both.
        """
        total, potential = 0.0, torch.zeros_like(rho)
        parameters = self.parameters if slopes else []
        totals = [torch.zeros_like(p) for p in parameters]
        for part, rows, quadrature in self.quadratures.blocks(self.xc):
            with torch.enable_grad():
                leaf = rho[:, :, rows].detach().requires_grad_()
                energy = part.energy(leaf, quadrature)
                if energy.requires_grad:  # one that ignores its input (a fixed zero, say) has no graph
                    found = torch.autograd.grad(energy, [leaf, *parameters], allow_unused=True)
                    if found[0] is not None:
                        potential[:, :, rows] += found[0]
                    for whole, slope in zip(totals, found[1:], strict=True):
                        if slope is not None:
                            whole += slope
            total += float(energy.detach())
        return total, potential, totals if slopes else None

    @property
    def parameters(self) -> list[Tensor]:
        """Parameters of the functional that want a gradient."""
        return [p for p in self.xc.parameters() if p.requires_grad]


def occupied_of(orbitals: Tensor, occupations: Tensor) -> list[Tensor]:
    """Orbitals of each channel that hold electrons, weighted so that D = C C^T."""
    return [c[:, f > 0] * f[f > 0].sqrt() for c, f in zip(orbitals, occupations, strict=True)]


def device_of(xc: XCFunctional) -> torch.device:
    """Return the device of a functional's parameters (the CPU if it has none)."""
    return next((p.device for p in xc.parameters()), torch.device("cpu"))


class XCKernel:
    """Second derivatives of the exchange-correlation energy, as products with vectors.

    The graph of the potential is built once and walked once per product.
    """

    def __init__(self, quadrature: XCQuadrature, rho: Tensor) -> None:
        self._parts = []
        for part, rows, seen in quadrature.quadratures.blocks(quadrature.xc):
            with torch.enable_grad():
                leaf = rho[:, :, rows].detach().requires_grad_()
                energy, slope = part.energy(leaf, seen), None
                if energy.requires_grad:
                    slope = torch.autograd.grad(energy, leaf, create_graph=True, allow_unused=True)[0]
            self._parts.append((rows, leaf, slope))

    def __call__(self, change: Tensor) -> Tensor:
        """Return d potential (weighted) for a change of the density components."""
        out = torch.zeros_like(change)
        for rows, leaf, slope in self._parts:
            if slope is None or not slope.requires_grad:
                continue
            product = torch.autograd.grad(
                slope, leaf, grad_outputs=change[:, :, rows], retain_graph=True, allow_unused=True
            )[0]
            if product is not None:
                out[:, :, rows] += product
        return out
