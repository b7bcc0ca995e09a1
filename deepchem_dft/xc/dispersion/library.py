"""The programs of the DFT-D3 and DFT-D4 projects (``dftd3``, ``dftd4``); no other file calls them."""

import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.needs import optional


class Nuclei(NamedTuple):
    """Nuclei at rest; two of the same numbers are equal, so that results can be kept by them.

    Attributes
    ----------
    numbers : tuple of int
        Atomic numbers.
    positions : tuple of (float, float, float)
        Bohr.
    charge : float
        Of the whole molecule, in elementary charges.
    """

    numbers: tuple[int, ...]
    positions: tuple[tuple[float, ...], ...]
    charge: float

    @classmethod
    def of(cls, numbers: Sequence[int], positions: Any, charge: float = 0.0) -> "Nuclei":
        """Return nuclei from sequences or arrays; positions of shape (natom, 3) in Bohr.

        Examples
        --------
        >>> Nuclei.of([1, 1], [[0, 0, 0], [0, 0, 1.4]]).positions[1]
        (0.0, 0.0, 1.4)
        """
        rows = np.asarray(positions, dtype=float).reshape(-1, 3)
        return cls(tuple(int(z) for z in numbers), tuple(map(tuple, rows.tolist())), float(charge))

    def moved(self, positions: Any) -> "Nuclei":
        """Return the same nuclei at other positions, shape (natom, 3), Bohr."""
        return Nuclei.of(self.numbers, positions, self.charge)


#: Models, and the entry of their table that holds parameters for rational (Becke-Johnson) damping.
MODELS = {"d3bj": ("dftd3", "bj"), "d4": ("dftd4", "bj-eeq-atm")}
#: The last element of either model. Beyond it the libraries return zero, or crash.
HEAVIEST = 103
#: What a damping function is made of: s6, s8, s9 scale energies of pairs and triples, the radius within
#: which they are damped is a1 sqrt(C8/C6) + a2 (a2 in Bohr).
PARAMETERS = ("s6", "s8", "s9", "a1", "a2")


class Pairs(NamedTuple):
    """Pairs of atoms, each once.

    Attributes
    ----------
    c6 : ndarray, shape (P,), Ha Bohr^6
    ratio : ndarray, shape (P,), Bohr^2
        C8/C6.
    distance : ndarray, shape (P,), Bohr
    """

    c6: np.ndarray
    ratio: np.ndarray
    distance: np.ndarray


def _program(model: str, part: str) -> Any:
    return optional(f"{MODELS[model][0]}.{part}", f"dispersion '{model}'", "dispersion", "dispersion")


def known_parameters(model: str, method: str) -> dict[str, float]:
    """Return the parameters that were fitted for a conventional functional.

    Parameters
    ----------
    model : {"d3bj", "d4"}
    method : str
        Name of the functional, with or without dashes and underscores.

    Returns
    -------
    dict
        Values of :data:`PARAMETERS`. ``s9`` is that of the table: 1.

    Raises
    ------
    InputError
        If there are none, or the library is missing.

    References
    ----------
    Grimme, Ehrlich and Goerigk, J. Comput. Chem. 32, 1456 (2011), for D3(BJ); Caldeweyher et al.,
    J. Chem. Phys. 150, 154122 (2019), for D4. The tables of the packages name the source of each
    set.

    Examples
    --------
    >>> known_parameters("d3bj", "PBE")["a2"]
    4.4407
    """
    names = _methods(model)
    key = _bare(method)
    if key not in names:
        close = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise InputError(
            f"there are no {model} parameters for '{method}'",
            field="dispersion",
            remedy=f"name the functional whose to use, as in '+{model}(pbe)', or give your own, as in "
            f"'+{model}(s8=0.8,a1=0.4,a2=4.5)'{hint}",
        )
    entry = MODELS[model][1]
    found = _program(model, "parameters").get_damping_param(names[key], defaults=[entry])
    return {name: float(found[name]) for name in PARAMETERS}


def _bare(name: str) -> str:
    return "".join(c for c in name.lower() if c not in "-_ ")


@lru_cache
def _methods(model: str) -> dict[str, str]:
    """Names of functionals with parameters, bare and as the table has them."""
    table = _program(model, "parameters").get_all_damping_params(defaults=[MODELS[model][1]])
    return {_bare(name): name for name in table}


class Reference:
    """The library's model of one molecule.

    Parameters
    ----------
    model : {"d3bj", "d4"}
    nuclei : Nuclei

    Raises
    ------
    InputError
        For elements that the model does not know, nuclei it cannot place, or a missing library.
    """

    def __init__(self, model: str, nuclei: Nuclei) -> None:
        heavy = [z for z in nuclei.numbers if not 1 <= z <= HEAVIEST]
        if heavy:
            raise InputError(
                f"dispersion '{model}' has no data for the element of atomic number {heavy[0]}",
                field="dispersion",
                remedy=f"it knows 1 to {HEAVIEST}; leave the dispersion out",
            )
        program = _program(model, "interface")
        self._rational = program.RationalDampingParam if model == "d3bj" else program.DampingParam
        self._positions = np.array(nuclei.positions).reshape(-1, 3)
        options = {"charge": nuclei.charge} if model == "d4" else {}
        try:
            self._model = program.DispersionModel(np.array(nuclei.numbers), self._positions, **options)
        except RuntimeError as error:
            raise InputError(f"dispersion '{model}': {error}", field="dispersion") from None

    def energy(self, parameters: Mapping[str, float]) -> float:
        """Return the dispersion energy, Ha; values of :data:`PARAMETERS` by name."""
        return float(self._model.get_dispersion(self._rational(**parameters), grad=False)["energy"])

    def gradient(self, parameters: Mapping[str, float]) -> np.ndarray:
        """Return the derivative of the energy by the positions, shape (natom, 3), Ha/Bohr."""
        return self._model.get_dispersion(self._rational(**parameters), grad=True)["gradient"]

    def pairs(self) -> Pairs:
        """Return the coefficients of all pairs, from energies without damping."""
        bare = {"s6": 0.0, "s8": 0.0, "s9": 0.0, "a1": 0.0, "a2": 0.0}
        upper = np.triu_indices(len(self._positions), 1)
        distance = np.linalg.norm(self._positions[upper[0]] - self._positions[upper[1]], axis=1)
        found = []
        for name, power in (("s6", 6), ("s8", 8)):
            undamped = self._rational(**{**bare, name: 1.0})
            energies = self._model.get_pairwise_dispersion(undamped)["additive pairwise energy"]
            found.append(-2.0 * energies[upper] * distance**power)  # the matrix has half at (i, j)
        c6, c8 = found
        near = c6 > 0.0  # beyond the cutoff of the library there is nothing
        return Pairs(c6[near], c8[near] / c6[near], distance[near])
