"""Molecules on a line: nuclei, electrons, and the families and separations of the papers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import external_potential, nuclear_repulsion
from deepchem_dft.torchstate import unaffected

#: Distance of the nuclei in each half of H2H2, Bohr: the minimum of the exact H2 curve among the
#: multiples of the paper's spacing.
H2_BOND = 1.52


@dataclass(frozen=True)
class System:
    """Nuclei on a line and a number of electrons.

    Parameters
    ----------
    positions : sequence of float
        (M,), Bohr. They need not lie on grid points.
    charges : sequence of float
        (M,), positive.
    electrons : int
    spin : int
        2S = N_up - N_down.
    name : str, optional
        For messages and tables.

    Raises
    ------
    InputError
        For lists of different lengths, values that are not numbers, charges or electron numbers
        that are not positive, a spin the electrons cannot have.

    Examples
    --------
    >>> molecule = System([-0.7, 0.7], [1, 1], electrons=2, name="H2")
    >>> molecule.up, molecule.down, molecule.centre
    (1, 1, 0.0)
    """

    positions: tuple[float, ...]
    charges: tuple[float, ...]
    electrons: int
    spin: int = 0
    name: str = ""

    def __init__(
        self,
        positions: Sequence[float],
        charges: Sequence[float],
        electrons: int,
        spin: int = 0,
        name: str = "",
    ) -> None:
        entry = name or None
        for field, values in (("positions", positions), ("charges", charges)):
            if not values or not all(math.isfinite(value) for value in values):
                raise InputError(
                    f"{list(values)!r} are not numbers",
                    entry=entry,
                    field=field,
                    remedy="give one finite number per nucleus",
                )
        if len(positions) != len(charges):
            raise InputError(
                f"{len(positions)} positions but {len(charges)} charges",
                entry=entry,
                field="charges",
                remedy="give one of each per nucleus",
            )
        if min(charges) <= 0:
            raise InputError(
                f"a nuclear charge of {min(charges):g} does not attract",
                entry=entry,
                field="charges",
                remedy="use positive charges",
            )
        if electrons != int(electrons) or electrons < 1:
            raise InputError(
                f"{electrons!r} electrons cannot be placed",
                entry=entry,
                field="electrons",
                remedy="use a whole number from 1",
            )
        if spin != int(spin) or not 0 <= spin <= electrons or (electrons - spin) % 2:
            raise InputError(
                f"{electrons} electrons cannot have spin {spin!r}",
                entry=entry,
                field="spin",
                remedy="spin is N_up - N_down, from 0 to N, and even or odd as N is",
            )
        for field, value in (
            ("positions", tuple(float(p) for p in positions)),
            ("charges", tuple(float(z) for z in charges)),
            ("electrons", int(electrons)),
            ("spin", int(spin)),
            ("name", str(name)),
        ):
            object.__setattr__(self, field, value)

    @property
    def up(self) -> int:
        """Number of electrons of the majority spin."""
        return (self.electrons + self.spin) // 2

    @property
    def down(self) -> int:
        """Number of electrons of the minority spin."""
        return (self.electrons - self.spin) // 2

    @property
    def centre(self) -> float:
        """Mean of the nuclear positions, Bohr."""
        return sum(self.positions) / len(self.positions)

    @property
    def symmetric(self) -> bool:
        """Whether mirroring about `centre` gives the same molecule."""
        here = sorted(zip(self.positions, self.charges, strict=True))
        there = sorted((2 * self.centre - p, z) for p, z in here)
        return all(abs(p - q) < 1e-9 and y == z for (p, y), (q, z) in zip(here, there, strict=True))

    @unaffected
    def external_potential(self, grid: Grid) -> torch.Tensor:
        """Return the attraction of the nuclei, (points,), Hartree.

        Raises
        ------
        InputError
            If a nucleus is outside the grid.
        """
        grid.check_inside(self.positions, entry=self.name or None)
        return external_potential(
            grid,
            torch.tensor(self.positions, dtype=torch.float64),
            torch.tensor(self.charges, dtype=torch.float64),
        )

    @unaffected
    def nuclear_repulsion(self) -> float:
        """Return the repulsion of the nuclei, Hartree."""
        return nuclear_repulsion(
            torch.tensor(self.positions, dtype=torch.float64), torch.tensor(self.charges, dtype=torch.float64)
        ).item()


def chain(
    charges: Sequence[float],
    distances: Sequence[float],
    electrons: int,
    spin: int = 0,
    name: str = "",
    spacing: float = 0.08,
) -> System:
    """Return nuclei in a row, centred on 0.

    A row that is an odd number of ``spacing`` long is centred half a spacing to the left, so that
    nuclei at multiples of the spacing from each other lie on grid points, as in the paper.

    Parameters
    ----------
    charges : sequence of float
        (M,).
    distances : sequence of float
        (M - 1,): from each nucleus to the next, Bohr, not negative.
    electrons, spin, name
        As in `System`.
    spacing : float
        Of the grid, Bohr.

    Raises
    ------
    InputError
        For a negative distance, and as `System` does.

    Examples
    --------
    >>> [round(p, 2) for p in chain([1, 1], [0.4], electrons=2).positions]
    [-0.24, 0.16]
    """
    if len(distances) != len(charges) - 1 or any(not d >= 0 for d in distances):
        raise InputError(
            f"{list(distances)!r} are not the distances of {len(charges)} nuclei",
            entry=name or None,
            field="distances",
            remedy="give one less than nuclei, none of them negative",
        )
    steps = sum(distances) / spacing
    odd = abs(steps - round(steps)) < 1e-6 and round(steps) % 2 == 1
    start = -(sum(distances) + (spacing if odd else 0.0)) / 2
    positions = [start + sum(distances[:i]) for i in range(len(charges))]
    return System(positions, charges, electrons, spin, name)


_SYMBOLS: dict[float, str] = {1: "H", 2: "He", 3: "Li", 4: "Be", 5: "B", 6: "C"}


def ion(charge: float, electrons: int, spin: int | None = None, name: str = "") -> System:
    """Return an atom or ion at 0, with the least possible spin unless told otherwise.

    Examples
    --------
    >>> ion(3, 2).name, ion(1, 1).spin, ion(1, 2).name
    ('Li+', 1, 'H-')
    """
    if not name:
        symbol = _SYMBOLS.get(charge, f"Z={charge:g} ")
        excess = round(charge - electrons)
        name = symbol + ("+" * excess if excess > 0 else "-" * -excess)
    return System([0.0], [charge], electrons, electrons % 2 if spin is None else spin, name)


def hydrogen_like(charge: float) -> System:
    """Return a nucleus with one electron: H, He+, Li++ ..."""
    return ion(charge, 1)


def helium_like(charge: float) -> System:
    """Return a nucleus with two electrons: H-, He, Li+ ..."""
    return ion(charge, 2)


def lithium_like(charge: float) -> System:
    """Return a nucleus with three electrons: Li, Be+ ..."""
    return ion(charge, 3)


def beryllium_like(charge: float) -> System:
    """Return a nucleus with four electrons: Be, B+ ..."""
    return ion(charge, 4)


def h2_plus(distance: float) -> System:
    """Return two protons ``distance`` Bohr apart and one electron."""
    return chain([1, 1], [distance], 1, spin=1, name=f"H2+ R={distance:g}")


def h2(distance: float) -> System:
    """Return two protons ``distance`` Bohr apart and two electrons."""
    return chain([1, 1], [distance], 2, name=f"H2 R={distance:g}")


def h3_plus(distance: float) -> System:
    """Return three protons, neighbours ``distance`` Bohr apart, and two electrons."""
    return chain([1] * 3, [distance] * 2, 2, name=f"H3+ R={distance:g}")


def h3(distance: float) -> System:
    """Return three protons, neighbours ``distance`` Bohr apart, and three electrons."""
    return chain([1] * 3, [distance] * 2, 3, spin=1, name=f"H3 R={distance:g}")


def h4(distance: float) -> System:
    """Return four protons, neighbours ``distance`` Bohr apart, and four electrons."""
    return chain([1] * 4, [distance] * 3, 4, name=f"H4 R={distance:g}")


def h2h2(distance: float) -> System:
    """Return two H2 at their equilibrium, ``distance`` Bohr between the two inner protons."""
    return chain([1] * 4, [H2_BOND, distance, H2_BOND], 4, name=f"H2H2 R={distance:g}")


def heh_plus(distance: float) -> System:
    """Return He and H ``distance`` Bohr apart and two electrons."""
    return chain([2, 1], [distance], 2, name=f"HeH+ R={distance:g}")


def lih(distance: float) -> System:
    """Return Li and H ``distance`` Bohr apart and four electrons."""
    return chain([3, 1], [distance], 4, name=f"LiH R={distance:g}")


def beh_plus(distance: float) -> System:
    """Return Be and H ``distance`` Bohr apart and four electrons."""
    return chain([4, 1], [distance], 4, name=f"BeH+ R={distance:g}")


#: The families by name, each a function of one number: a distance in Bohr, or a nuclear charge.
FAMILIES: dict[str, Callable[[float], System]] = {
    "h2_plus": h2_plus,
    "h2": h2,
    "h3_plus": h3_plus,
    "h3": h3,
    "h4": h4,
    "h2h2": h2h2,
    "heh_plus": heh_plus,
    "lih": lih,
    "beh_plus": beh_plus,
    "hydrogen_like": hydrogen_like,
    "helium_like": helium_like,
    "lithium_like": lithium_like,
    "beryllium_like": beryllium_like,
}


def _range(
    start: int, stop: int, step: int, *, without: Sequence[int] = (), also: Sequence[int] = ()
) -> tuple[float, ...]:
    """Distances in Bohr from hundredths of it, ``stop`` included."""
    return tuple(r / 100 for r in sorted({*range(start, stop + 1, step), *also} - {*without}))


#: Separations to train on, Bohr: for H2 the two of the paper, for H4 eight spread over its curve.
#: Neither is in `TEST` or `VALID`.
TRAIN: dict[str, tuple[float, ...]] = {
    "h2": (1.28, 3.84),
    "h4": (1.12, 1.60, 2.08, 2.56, 3.20, 4.00, 4.80, 5.76),
}
#: Separations to select on: those which the regular rows of `TEST` leave out.
VALID: dict[str, tuple[float, ...]] = {"h2": (1.68, 2.96, 4.40, 5.52), "h4": (1.84, 2.64, 3.28, 5.04)}
#: The separations, Bohr, on which Li et al. test (their published data set names them).
TEST: dict[str, tuple[float, ...]] = {
    "h2_plus": _range(64, 848, 16, also=(248, 264)),
    "h2": _range(40, 600, 16, without=(168, 296, 440, 552)),
    "h4": _range(104, 600, 16, without=(184, 264, 328, 504)),
    "h2h2": _range(16, 976, 32),
}
#: Every separation of the data set: all multiples of the spacing over the range of `TEST`.
CURVE: dict[str, tuple[float, ...]] = {
    "h2_plus": _range(64, 848, 8),
    "h2": _range(40, 608, 8),
    "h3_plus": _range(64, 608, 8),
    "h3": _range(64, 608, 8),
    "h4": _range(104, 608, 8),
    "h2h2": _range(16, 976, 8),
    "heh_plus": _range(40, 608, 8),
    "lih": _range(64, 608, 8),
    "beh_plus": _range(64, 608, 8),
    "hydrogen_like": (1.0, 2.0, 3.0, 4.0),
    "helium_like": (1.0, 2.0, 3.0, 4.0),
    "lithium_like": (3.0, 4.0),
    "beryllium_like": (4.0, 5.0),
}
