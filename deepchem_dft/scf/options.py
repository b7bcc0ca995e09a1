"""How a self-consistent field is solved: options that travel together, checked in one place."""

from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Self

from deepchem_dft.checks import choice, decision, whole
from deepchem_dft.errors import InputError

ENGINES = ("native", "dqc")


@dataclass(frozen=True)
class SCFOptions:
    """How a self-consistent field is solved.

    Wherever fields are solved (:class:`~deepchem_dft.scf.KohnSham`, ``SCFLayer``, ``XCModel``), these can be
    given one by one, as one object by ``scf=``, or both: what is given by name then counts.

    Parameters
    ----------
    restricted : bool, optional
        Whether both spins share their orbitals. None decides: as the molecule says, else restricted for
        closed shells with a spin-symmetric functional. A restricted answer stays one; ``notes`` of the result
        tell if there are signs that an unrestricted solution lies below, and one was found.
    tol : float
        Largest Fock element between orbitals of different occupation, Ha. Energies converge to
        about ``tol**2``, energy gradients to first order: use 1e-8 to compare gradients.
    max_iter : int
        Bound on Fock builds.
    stability : bool
        Test whether the solution is a minimum, and follow the way down if not; then look for
        lower states further away, too.
    two_grid : bool, optional
        Iterate on a coarse grid and confirm on the fine one, with the same result. None decides:
        for warm starts of molecules.
    engine : {"native", "dqc"}
        ``dqc`` runs the same functional through DQC, as a second opinion.

    Raises
    ------
    InputError
        Naming an option whose value is not possible.

    Examples
    --------
    >>> SCFOptions.of(SCFOptions(tol=1e-8), two_grid=False)
    SCFOptions(restricted=None, tol=1e-08, max_iter=500, stability=False, two_grid=False, engine='native')
    """

    restricted: bool | None = None
    tol: float = 1e-6
    max_iter: int = 500
    stability: bool = False
    two_grid: bool | None = None
    engine: str = "native"

    def __post_init__(self) -> None:
        decision(restricted=self.restricted, stability=self.stability, two_grid=self.two_grid)
        if not (isinstance(self.tol, Real) and 0 < self.tol < 1):
            raise InputError(
                f"a convergence threshold of {self.tol} Ha is not possible",
                field="tol",
                remedy="use a small positive number such as 1e-6",
            )
        whole(1, max_iter=self.max_iter)
        choice(self.engine, ENGINES, "engine")

    @classmethod
    def of(cls, scf: "SCFOptions | None" = None, **changes: Any) -> Self:
        """Return the options of an object, as far as they are of this kind, with some of them changed.

        ``max_iter=None`` changes nothing.
        """
        if scf is not None and not isinstance(scf, SCFOptions):
            raise InputError(
                f"a {type(scf).__name__} is no SCFOptions", field="scf", remedy="use SCFOptions(...)"
            )
        if changes.get("max_iter", 0) is None:
            del changes["max_iter"]
        known = {f.name: getattr(scf, f.name) for f in fields(cls) if hasattr(scf, f.name)}
        return cls(**{**known, **changes})
