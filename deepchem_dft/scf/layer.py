"""The self-consistent field as a differentiable layer around a functional, and under DeepChem's names."""

from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.kohn_sham import KohnSham
from deepchem_dft.scf.options import SCFOptions
from deepchem_dft.scf.result import KSResult
from deepchem_dft.scf.state import SCFState
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc


class SCFLayer(nn.Module):
    """A ``torch`` layer whose forward pass is a Kohn-Sham calculation.

    Parameters
    ----------
    xc : str or XCFunctional
        Its trainable parameters are this layer's parameters.
    scf : SCFOptions, optional
        How fields are solved.
    **options
        The same by name; see :class:`~deepchem_dft.scf.SCFOptions`.

    Examples
    --------
    >>> import torch
    >>> from deepchem_dft.molecule import Molecule
    >>> from deepchem_dft.xc import HybridXC
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> layer = SCFLayer(HybridXC("lda,pw", net.double(), aweight0=0.1))
    >>> result = layer(Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g", grid_level=1))
    >>> result.energy.backward()
    >>> bool(net[0].weight.grad.abs().sum() > 0)
    True
    """

    def __init__(self, xc: str | XCFunctional, scf: SCFOptions | None = None, **options: Any) -> None:
        super().__init__()
        self.xc, self.scf = get_xc(xc), SCFOptions.of(scf, **options)

    def forward(
        self, molecule: Molecule, guess: SCFState | None = None, on_unconverged: str = "raise"
    ) -> KSResult:
        """Solve for a molecule; see :meth:`KohnSham.run`."""
        if molecule.surroundings is not None:
            raise InputError(
                f"fields in {molecule.surroundings.description} carry no gradient to the functional",
                field="surroundings",
                remedy="use KohnSham, or train without surroundings",
            )
        return KohnSham(molecule, self.xc, self.scf).run(on_unconverged=on_unconverged, guess=guess)

    @unaffected
    def frozen_density(self, molecule: Molecule, state: SCFState) -> FrozenDensity:
        """Everything :meth:`frozen_energy` needs, to be kept over many steps."""
        return FrozenDensity.from_state(molecule, self.xc, state)

    @unaffected
    def frozen_energy(
        self, molecule: Molecule, state: SCFState, frozen: FrozenDensity | None = None
    ) -> Tensor:
        """Energy (Ha) of given orbitals, differentiable in the functional's parameters only.

        Parameters
        ----------
        molecule : Molecule
        state : SCFState
        frozen : FrozenDensity, optional
            From :meth:`frozen_density` or ``KSResult.frozen``; saves a Fock build.
        """
        if frozen is None or not frozen.serves(self.xc):
            frozen = self.frozen_density(molecule, state)
        return frozen.energy(self.xc)


class KSCalc:
    """A finished calculation under DeepChem's method names.

    Parameters
    ----------
    result : KSResult
    """

    def __init__(self, result: KSResult) -> None:
        self.result = result

    def energy(self) -> Tensor:
        """Total energy, Ha."""
        return self.result.energy

    def aodmtot(self) -> Tensor:
        """Spin-summed density matrix, shape (nao, nao)."""
        return self.result.total_density_matrix

    def dens(self, rgrid: Any) -> Tensor:
        """Electron density (1/Bohr^3) at points (G, 3) in Bohr."""
        return self.result.density(rgrid)

    def force(self) -> Tensor:
        """Forces on the nuclei, shape (natom, 3), Ha/Bohr."""
        return self.result.forces()


class XCNNSCF(torch.nn.Module):
    """Run systems of an entry with a functional, under DeepChem's names.

    Parameters
    ----------
    xc : XCFunctional
    entry : DFTEntry, optional
        Kept for DeepChem's signature.
    tol, grid_level
        Convergence threshold (Ha) and PySCF grid level.
    device : str or torch.device, optional
        Where the functional goes; matrices of a field follow it. Default: it stays where it is.
    """

    def __init__(
        self,
        xc: XCFunctional,
        entry: Any = None,
        *,
        tol: float = 1e-6,
        grid_level: int = 3,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.layer = SCFLayer(xc if device is None else xc.to(device), tol=tol)
        self.entry, self.grid_level = entry, grid_level

    @property
    def xc(self) -> XCFunctional:
        """The functional."""
        return self.layer.xc

    def get_xc(self) -> XCFunctional:
        """Return the functional (DeepChem's spelling)."""
        return self.layer.xc

    def run(self, system: Any) -> KSCalc:
        """Solve one system.

        Parameters
        ----------
        system : DFTSystem

        Returns
        -------
        KSCalc

        Raises
        ------
        SCFNotConverged
            Rather than returning a number that means nothing.
        """
        return KSCalc(self.layer(system.to_molecule(grid_level=self.grid_level)))
