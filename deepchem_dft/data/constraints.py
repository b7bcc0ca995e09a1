"""Conditions that the exact functional meets, as entries: fractional charges, fractional spins.

Both are combinations of the functional's own energies that are zero for the exact functional, so
that they need no reference value.
"""

from collections.abc import Sequence

from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError

#: Entry types whose value is zero unless it is written.
CONSTRAINT_TYPES = ("fractional_charge", "fractional_spin")

_TOLERANCE = 1e-6


def constraint_coefficients(e_type: str, systems: Sequence[DFTSystem]) -> list[float]:
    r"""Find the roles of a constraint's systems and return their coefficients.

    .. math::
        \text{fractional charge: } & E(N + \delta) - (1 - \delta) E(N) - \delta E(N + 1) = 0 \\
        \text{fractional spin: } & E(S, \text{fractional}) - E(S) = 0

    Between whole numbers of electrons the exact energy is a straight line, and the states of a
    spin multiplet, and all averages over them, have one energy.

    Parameters
    ----------
    e_type : {"fractional_charge", "fractional_spin"}
    systems : sequence of DFTSystem
        In any order. Charge: the system of fractional charge and its two neighbours; of an atom
        with less than one electron, the neighbour with one. Spin: two systems that differ in spin
        alone; the one with more unpaired electrons is the state compared with.

    Returns
    -------
    list of float

    Raises
    ------
    InputError
        If the systems do not fit the type.

    References
    ----------
    Perdew, Parr, Levy, Balduz, Phys. Rev. Lett. 49, 1691 (1982).
    Cohen, Mori-Sanchez, Yang, J. Chem. Phys. 129, 121104 (2008).

    Examples
    --------
    >>> def hydrogen(a, b):
    ...     return DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g", "n_alpha": a, "n_beta": b})
    >>> constraint_coefficients("fractional_charge", [hydrogen(0.25, 0), hydrogen(1, 0)])
    [1.0, -0.25]
    >>> constraint_coefficients("fractional_spin", [hydrogen(0.5, 0.5), hydrogen(1, 0)])
    [1.0, -1.0]
    """
    for i, system in enumerate(systems):
        if system.no != 1:
            raise InputError(
                f"a {e_type} entry cannot count a system {system.no:g} times",
                field=f"systems[{i}].number",
                remedy="remove number",
            )
        if (system.moldesc, system.basis, system.ecp) != (
            systems[0].moldesc,
            systems[0].basis,
            systems[0].ecp,
        ):
            raise InputError(
                "the systems differ in more than their electrons",
                field=f"systems[{i}]",
                remedy="give all the same geometry and basis",
            )
    return (_charge if e_type == "fractional_charge" else _spin)(systems)


def _charge(systems: Sequence[DFTSystem]) -> list[float]:
    numbers = [sum(system.electrons) for system in systems]
    parts = [i for i, n in enumerate(numbers) if abs(n - round(n)) > _TOLERANCE]
    if len(parts) != 1:
        raise InputError(
            f"{len(parts)} systems have a fractional charge, where one should",
            field="systems",
            remedy="list it and its two neighbours of whole charge",
        )
    fraction, low = numbers[parts[0]] % 1.0, int(numbers[parts[0]])
    weights = {low: 1.0 - fraction, low + 1: fraction}
    found = [1.0 if i in parts else -weights.pop(round(n), 0.0) for i, n in enumerate(numbers)]
    # No electron at a lone nucleus: its energy is zero, and nothing could be computed.
    if low == 0 and len(systems[0].symbols) == 1:
        weights.pop(0, None)
    if weights or 0.0 in found:
        wanted = " and ".join(f"{n}" for n in sorted(k for k in (low, low + 1) if k))
        given = ", ".join(f"{n:g}" for n in numbers)
        raise InputError(
            f"systems of {given} electrons make no line",
            field="systems",
            remedy=f"give the neighbours of {numbers[parts[0]]:g}: {wanted}",
        )
    return found


def _spin(systems: Sequence[DFTSystem]) -> list[float]:
    if len(systems) != 2 or abs(sum(systems[0].electrons) - sum(systems[1].electrons)) > _TOLERANCE:
        raise InputError(
            "a fractional spin needs two systems of equal charge",
            field="systems",
            remedy="list the fractional system and the one it is compared with",
        )
    spins = [abs(system.spin) for system in systems]
    full = 0 if spins[0] > spins[1] else 1
    other = systems[1 - full]
    whole = all(abs(n - round(n)) < _TOLERANCE for n in systems[full].electrons)
    if spins[0] == spins[1] or not whole:
        raise InputError(
            "neither system is a state with all its spins aligned",
            field="systems",
            remedy="compare n_alpha: 0.5, n_beta: 0.5 with n_alpha: 1, n_beta: 0",
        )
    if spins[full] > 1 and other.occupations is None:
        # The lowest orbitals filled one after the other would be another state.
        raise InputError(
            f"the {spins[full]:g} unpaired electrons of {systems[full].name} can be "
            "shared among orbitals in several ways",
            field="systems",
            remedy="write occupations, e.g. {alpha: [1, 1, 0.5, 0.5, 0.5], beta: "
            "[1, 1, 0.5, 0.5, 0.5]} for N",
        )
    return [-1.0 if i == full else 1.0 for i in range(2)]
