"""The mean of several functionals, and how far they disagree."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional, highest_family
from deepchem_dft.xc.dispersion import Dispersion
from deepchem_dft.xc.enhancement import EnhancedXC
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.nonlocality.terms import local_at_density, local_density, nonlocal_parts
from deepchem_dft.xc.quadrature import Quadrature


class EnsembleXC(XCFunctional):
    r"""The mean of functionals, a functional itself: :math:`E = \frac1M \sum_i E_i[\rho]`.

    Parameters
    ----------
    members : sequence of XCFunctional or str
        At least two.
    calibration, floor : float, the floor in Ha
        They make the uncertainty of a value, :math:`u^2 = f^2 + c^2 s^2`, of the standard
        deviation s of its members' values: half the width of an interval that is meant to hold
        68 % of the true values. See :mod:`deepchem_dft.runs.xc.calibration`. They change no energy.
    by_kind : mapping of str to (float, float), optional
        Calibration and floor (Ha) of values of a kind that rows of boards name (``"TAE"``, ``"BH"``), in
        place of those of all others: errors of barriers are not of the size of errors of dimers.

    Raises
    ------
    FunctionalError
        For fewer than two members, a calibration that is no positive number, or a floor
        that is negative or not finite; of a kind, too.

    Examples
    --------
    >>> both = EnsembleXC(["pbe", "pbe0"])
    >>> both.family, both.exchange_terms, len(both)
    ('gga', [(0.125, None)], 2)
    """

    def __init__(
        self,
        members: Sequence[XCFunctional | str],
        calibration: float = 1.0,
        floor: float = 0.0,
        by_kind: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(members, (str, XCFunctional)) or len(members) < 2:
            raise FunctionalError(
                "an ensemble needs at least two functionals", field="members", remedy="give a list of them"
            )
        self.calibration, self.floor = _checked(calibration, floor)
        own = {kind: _pair(kind, pair) for kind, pair in (by_kind or {}).items()}
        self.by_kind = {kind: _checked(*pair, kind) for kind, pair in own.items()}
        self.members = nn.ModuleList([get_xc(member) for member in members])
        self.family = highest_family(*(member.family for member in self))
        self.spin_symmetric = all(member.spin_symmetric for member in self)
        self.constant = all(member.constant for member in self)

    def __iter__(self) -> Iterator[XCFunctional]:
        return iter(self.members)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Mean exact exchange as ``(coefficient, omega)``, one term for each omega."""
        shares: dict[float | None, Any] = {}
        for member in self:
            for coefficient, omega in member.exchange_terms:
                shares[omega] = shares.get(omega, 0.0) + coefficient / len(self)
        return [(share, omega) for omega, share in shares.items()]

    @property
    def uniform_gas(self) -> bool:  # type: ignore[override]
        """True if all members promise it."""
        return all(member.uniform_gas for member in self)

    @property
    def nonlocal_terms(self) -> list[XCFunctional]:
        """Those of all members; a member that is nonlocal itself is one."""
        return [term for member in self for term in nonlocal_parts(1.0 / len(self), member)]

    @property
    def dispersion_terms(self) -> list[tuple[float | Tensor, Dispersion]]:
        """Its own dispersion if it has one, and the mean of its members'."""
        own = super().dispersion_terms
        return own + [(c / len(self), term) for member in self for c, term in member.dispersion_terms]

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        cores = self._cores()
        if cores is None:
            return sum(local_density(member, rho) for member in self) / len(self)  # type: ignore
        # libxc and the features, most of the cost, once for all members
        prepared = cores[0][1].prepared(rho)
        return sum(weight * core.energy_at(prepared) for weight, core in cores) / len(self)  # type: ignore

    def _cores(self) -> list[tuple[Tensor, EnhancedXC]] | None:
        """Return weights and enhanced functionals if the members are such, all of one parent.

        Of one kind of range separation, too: what is prepared depends on it, not on omega.
        """
        cores: list[tuple[Tensor, EnhancedXC]] = []
        for member in self:
            if not (
                isinstance(member, HybridXC) and member.xc is None and isinstance(member.nnxc, EnhancedXC)
            ):
                return None
            cores.append((member.aweight, member.nnxc))
        kinds = {(core.parent.name, core.ranges and core.ranges.attenuation) for _, core in cores}
        return cores if len(kinds) == 1 else None

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        energies = [local_at_density(member, rho, quadrature) for member in self]
        return lambda: sum(energy() for energy in energies) / len(self)  # type: ignore

    def energies(self, result: Any) -> Tensor:
        """Return the total energy that each member gives at the mean functional's density.

        A member's own density would lower its energy, by an amount of second order in the
        difference of the densities. Form differences (of reactions, say) member by member and take
        the deviation last: errors that members share cancel.

        Parameters
        ----------
        result : KSResult
            Of a calculation with this functional.

        Returns
        -------
        Tensor, shape (M,), Ha
            Without gradient.

        Examples
        --------
        >>> from deepchem_dft import KohnSham, Molecule
        >>> both = EnsembleXC(["pbe", "blyp"])
        >>> result = KohnSham(Molecule("He 0 0 0", "sto-3g", grid_level=0), both).run()
        >>> energies = both.energies(result)
        >>> bool((energies.mean() - result.energy).abs() < 1e-10)
        True
        """
        with torch.no_grad():
            common = 0.0 if self.dispersion is None else self.dispersion.energy(result.frozen.nuclei)
            return torch.stack([result.frozen.energy(member) + common for member in self])

    def spread(self, result: Any) -> float:
        """Return the standard deviation (Ha, M - 1 in the denominator) of :meth:`energies`."""
        return float(self.energies(result).std())

    def calibration_of(self, kind: Any = None) -> tuple[float, float]:
        """Return calibration and floor (Ha) of a kind of value; those of any value for unknown ones.

        Examples
        --------
        >>> both = EnsembleXC(["pbe", "blyp"], 2.0, by_kind={"BH": (1.5, 0.002)})
        >>> both.calibration_of("BH"), both.calibration_of("NC")
        ((1.5, 0.002), (2.0, 0.0))
        """
        return self.by_kind.get(kind, (self.calibration, self.floor))

    def uncertainty(self, result: Any) -> float:
        """Return the uncertainty (Ha) of the total energy, from :meth:`spread`.

        That of a difference is smaller as a rule, and follows from :meth:`energies` alone:
        ``uncertainty_of`` the members' differences.
        """
        return uncertainty_of(self.energies(result), self.calibration, self.floor)

    def extra_repr(self) -> str:
        return f"family={self.family}"


def _checked(calibration: Any, floor: Any, of: str = "") -> tuple[float, float]:
    place, kind = (f"by_kind.{of}.", f" of {of}") if of else ("", "")
    if not _is_number(calibration) or not 0.0 < calibration < math.inf:
        raise FunctionalError(
            f"a calibration{kind} of {str(calibration)[:60]} is no uncertainty",
            field=f"{place}calibration",
            remedy="give a positive number",
        )
    if not _is_number(floor) or not 0.0 <= floor < math.inf:
        raise FunctionalError(
            f"a floor{kind} of {str(floor)[:60]} is no uncertainty",
            field=f"{place}floor",
            remedy="give zero or a positive number (Ha)",
        )
    return float(calibration), float(floor)


def _pair(kind: Any, pair: Any) -> tuple[Any, Any]:
    if isinstance(kind, str) and isinstance(pair, (list, tuple)) and len(pair) == 2:
        return pair[0], pair[1]
    raise FunctionalError(
        f"{str(pair)[:60]} of {str(kind)[:60]!r} is no calibration",
        field="by_kind",
        remedy="give two numbers for each kind: calibration and floor (Ha)",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def uncertainty_of(values: Sequence[float] | Tensor, calibration: float = 1.0, floor: float = 0.0) -> float:
    """Return the uncertainty of a quantity that every member of an ensemble has a value of.

    Parameters
    ----------
    values : (M,) of any unit
        The members' values, of a reaction energy for example. Form differences first: errors that
        members share cancel.
    calibration, floor : float
        See :class:`EnsembleXC`; the floor in the unit of the values.

    Returns
    -------
    float
        :math:`(f^2 + c^2 s^2)^{1/2}` in the unit of the values, with s the standard deviation
        (M - 1 in the denominator).

    Examples
    --------
    >>> uncertainty_of([1.0, 2.0, 3.0], calibration=1.5)
    1.5
    """
    # of deviations from the first: total energies are large, what they differ by is small
    values = torch.as_tensor(values, dtype=torch.float64).detach()
    return math.hypot(calibration * float((values - values[0]).std()), floor)
