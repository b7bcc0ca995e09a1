"""How the systems of entries are solved: for one field, and from one training step to the next."""

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from deepchem_dft.checks import choice, decision, whole
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.options import UNCONVERGED
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.changes import checked_level
from deepchem_dft.scf import SCFOptions

if TYPE_CHECKING:
    from deepchem_dft.data import DFTSystem


@dataclass(frozen=True)
class SystemOptions(SCFOptions):
    """How the systems of entries are solved; all of :class:`~deepchem_dft.scf.SCFOptions`, and more.

    Parameters
    ----------
    grid_level : int
        PySCF's quadrature level.
    density_fit : None, bool or str
        Fit densities: for large molecules (None), always, never, or in a basis of this name.
    warm_start : bool
        Start from a system's last orbitals when training.
    scf_every : int
        k: an optimiser step solves a system anew if its stored orbitals are k or more steps old,
        and else uses the energy at those orbitals, whose gradient is that of the self-consistent
        energy up to the change of the orbitals since. ``dm`` and ``dens`` entries always solve.
    scf_trust : float
        With ``scf_every`` above 1: a system is solved earlier once relaxing its orbitals would
        lower its energy by more than this (estimated, Ha).
    on_unconverged : {"raise", "warn", "nan"}
        What prediction does with an entry that did not converge.

    Examples
    --------
    >>> SystemOptions.of(SCFOptions(tol=1e-8), grid_level=2).tol
    1e-08
    """

    grid_level: int = 3
    density_fit: bool | str | None = None
    warm_start: bool = True
    scf_every: int = 1
    scf_trust: float = 1e-5
    on_unconverged: str = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_level(self.grid_level)
        if not isinstance(self.density_fit, str):
            decision(density_fit=self.density_fit)
        decision(warm_start=self.warm_start)
        whole(1, scf_every=self.scf_every)
        if not (isinstance(self.scf_trust, Real) and self.scf_trust >= 0):
            raise InputError(
                f"scf_trust is {self.scf_trust!r}",
                field="scf_trust",
                remedy="use an energy in Ha, such as 1e-5",
            )
        choice(self.on_unconverged, UNCONVERGED, "on_unconverged")

    def molecule(self, system: "DFTSystem") -> Molecule:
        """Return a system's molecule, with quadrature and fitting as chosen."""
        return system.to_molecule(self.grid_level, self.density_fit)
