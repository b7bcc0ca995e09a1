"""Nonlocal parts of functionals on PySCF's grids: energy, potential matrices and gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pyscf import dft, gto
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import integrals
from deepchem_dft.molecule.grid import BLOCK_ROWS, Block, by_locality, row_blocks, screened
from deepchem_dft.scf.forces import xc_gradient
from deepchem_dft.scf.quadrature import XCQuadrature, device_of
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.quadrature import Quadrature


class PySCFGrid:
    """A grid as PySCF is set to make it, with what :class:`XCQuadrature` asks of one of ours.

    Parameters
    ----------
    mol : pyscf.gto.Mole
    grids : pyscf.dft.gen_grid.Grids
        Only its settings are read.

    Raises
    ------
    InputError
        For ghost atoms, which a functional of nuclei does not know.
    """

    def __init__(self, mol: Any, grids: Any) -> None:
        numbers = [gto.charge(mol.atom_symbol(atom)) for atom in range(mol.natm)]
        if 0 in numbers:
            raise InputError(
                "functionals that see the whole quadrature are not for ghost atoms",
                field="mf",
                remedy="leave the ghost atoms out, or use a local functional",
            )
        made = integrals.quadrature_of(mol, grids)
        order = by_locality(made["points"], mol.atom_coords())
        tensors = {name: torch.from_numpy(values[order]) for name, values in made.items()}
        positions = torch.from_numpy(np.array(mol.atom_coords()))
        self.quadrature = Quadrature(positions=positions, numbers=torch.tensor(numbers), **tensors)
        self.size, self._mol = self.quadrature.size, mol

    def blocks(self, deriv: int, device: torch.device | str = "cpu") -> Iterator[Block]:
        """Evaluate atomic orbitals block by block."""
        points = self.quadrature.points.numpy()
        for rows in row_blocks(self.size, BLOCK_ROWS):
            values = integrals.atomic_orbitals(self._mol, points[rows], deriv)
            yield screened(rows, torch.from_numpy(values)).to(device)


class NonlocalParts(XCFunctional):
    """The nonlocal parts of a functional, without what is local of it.

    Parameters
    ----------
    functional : XCFunctional
        With at least one such part.
    """

    needs_quadrature = True

    def __init__(self, functional: XCFunctional) -> None:
        super().__init__()
        self.functional = functional
        first = self._parts()[0]
        self.family, self.grid_level = first.family, first.grid_level

    def _parts(self) -> list[XCFunctional]:
        own = [self.functional] if self.functional.needs_quadrature else []
        return [*own, *self.functional.nonlocal_terms]

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Return the energy of the first part, Ha; see the base class."""
        return self._parts()[0].energy(rho, quadrature)

    def pieces(self, quadrature: Quadrature) -> list[Tensor] | None:
        """Return those of the first part; see the base class."""
        return self._parts()[0].pieces(quadrature)

    @property
    def nonlocal_terms(self) -> list[XCFunctional]:
        """All other parts."""
        return self._parts()[1:]


class NonlocalIntegration:
    """What nonlocal parts add to PySCF's integration on the grid.

    Parameters
    ----------
    functional : XCFunctional
    """

    def __init__(self, functional: XCFunctional) -> None:
        self.parts = NonlocalParts(functional)
        self._grids: dict[int | str | None, tuple[tuple, PySCFGrid]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_grids": {}}

    def potential(self, mol: Any, grids: Any, densities: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the energy (Ha) and its derivative by the density matrices.

        Parameters
        ----------
        mol : pyscf.gto.Mole
        grids : pyscf.dft.gen_grid.Grids
            For the parts without a grid level of their own.
        densities : ndarray, shape (nspin, nao, nao)
            Spin-summed if nspin is 1.
        """
        field, matrices = self._field(mol, grids, densities)
        energy, weighted, _ = field.xc_potential(field.density_of_matrix(matrices))
        return energy, field.matrix_of_potential(weighted).cpu().numpy()

    def gradient(self, mol: Any, grids: Any, densities: np.ndarray) -> np.ndarray:
        """Return the derivative by nuclear positions at fixed density matrices, (natom, 3), Ha/Bohr.

        Raises
        ------
        InputError
            If space is shared among atoms in another way than by Becke's functions.
        """
        for name in ("becke_scheme", "radii_adjust"):
            if getattr(grids, name) is not getattr(dft.gen_grid.Grids, name):
                raise InputError(
                    f"forces of nonlocal functionals are not for mf.grids.{name} other than PySCF's default",
                    field="grids",
                    remedy="leave it alone",
                )
        field, matrices = self._field(mol, grids, densities)
        with torch.no_grad():
            rho = field.density_of_matrix(matrices)
        return xc_gradient(field, mol, rho, matrices.cpu()).numpy()

    def _field(self, mol: Any, grids: Any, densities: np.ndarray) -> tuple[XCQuadrature, Tensor]:
        levels = dict.fromkeys(part.grid_level for part in (self.parts, *self.parts.nonlocal_terms))
        places = {level: place for place, level in enumerate(levels)}
        made: list[Any] = [self._grid(mol, grids, level) for level in levels]
        device = device_of(self.parts)
        matrices = torch.from_numpy(np.ascontiguousarray(densities, dtype=float)).to(device)
        matrices = 0.5 * (matrices + matrices.mT)  # the density of orbitals that are real sees no more
        field = XCQuadrature(self.parts, made, places, mol.nao_nr(), len(matrices), device)
        return field, matrices

    def _grid(self, mol: Any, grids: Any, level: int | str | None) -> PySCFGrid:
        if level is not None:
            grids = integrals.grids_of_level(mol, None if level == "coarse" else int(level))
        names = ("level", "atom_grid", "prune", "radi_method", "radii_adjust", "becke_scheme")
        recipe = (mol._atm.tobytes(), mol._bas.tobytes(), mol._env.tobytes(), mol.cart)
        recipe += tuple(str(getattr(grids, name)) for name in names)
        if level not in self._grids or self._grids[level][0] != recipe:
            self._grids[level] = recipe, PySCFGrid(mol, grids)
        return self._grids[level][1]
