"""What should be said of a calculation before its number is believed; all warnings in one place."""

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import has_diffuse
from deepchem_dft.molecule.elements import NUCLEAR_CHARGE
from deepchem_dft.molecule.integrals import COVALENT_RADII
from deepchem_dft.units import BOHR_TO_ANGSTROM

if TYPE_CHECKING:
    from deepchem_dft.molecule import Molecule

#: Atoms nearer than this share of the sum of their covalent radii are taken for a mistake.
TOO_CLOSE = 0.6


def advice(molecule: "Molecule", xc: str = "", trained_on: Mapping[str, Any] | None = None) -> list[str]:
    """Return what speaks against a calculation before it is done.

    Parameters
    ----------
    molecule : Molecule
    xc : str
        Name of the functional, for the text.
    trained_on : mapping, optional
        Section ``training`` of a functional's card: its ``elements`` and ``basis`` are compared with those
        of the molecule. See :func:`training_of`.

    Returns
    -------
    list of str
        One sentence each; empty as a rule.

    Examples
    --------
    >>> from deepchem_dft import Molecule
    >>> advice(Molecule("O 0 0 0; H 0 0 1.8", "6-31g", charge=-1))
    ['an anion in 6-31g, which has no diffuse functions: use aug-cc-pvtz, def2-tzvpd or 6-31+g*, say']
    >>> advice(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g"), "mine", {"elements": ["O"], "basis": "def2-svp"})
    ['mine was not trained on H', 'mine was trained in def2-svp, not in sto-3g']
    """
    found = [*_close(molecule)]
    if molecule.charge < 0 and not has_diffuse(sorted(set(molecule.symbols)), molecule.basis):
        found.append(
            f"an anion in {_name(molecule.basis)}, which has no diffuse functions: use aug-cc-pvtz, "
            "def2-tzvpd or 6-31+g*, say"
        )
    known = (trained_on or {}).get("elements")
    if isinstance(known, list):
        new = sorted(set(molecule.symbols) - set(known), key=NUCLEAR_CHARGE.__getitem__)
        if new:
            found.append(f"{xc} was not trained on {', '.join(new)}")
    basis = (trained_on or {}).get("basis")
    if isinstance(basis, str) and _differ(molecule.basis, basis):
        found.append(f"{xc} was trained in {basis}, not in {_name(molecule.basis)}")
    return found


def training_of(xc: str) -> dict[str, Any]:
    """Return what the card of a functional says of its training; nothing of conventional ones.

    Parameters
    ----------
    xc : str
        As after ``--xc``.
    """
    from deepchem_dft import zoo
    from deepchem_dft.xc import dispersion
    from deepchem_dft.xc.names import is_trained

    if not is_trained(xc):
        return {}
    name = dispersion.split(xc)[0].strip()
    try:
        return zoo.card(name if Path(name).suffix == ".safetensors" else name.partition(":")[2]).training
    except InputError:
        return {}


def warn(molecules: "Mapping[str, Molecule]", functionals: Iterable[str]) -> list[str]:
    """Warn of everything that speaks against calculations, each sentence once.

    Parameters
    ----------
    molecules : mapping
        By the names to be shown, which are left out where a sentence holds for all.
    functionals : iterable of str
        Names, as after ``--xc``.

    Returns
    -------
    list of str
        What was said.
    """
    said: dict[str, dict[str, None]] = {}
    for xc in functionals:
        trained_on = training_of(xc)
        for name, molecule in molecules.items():
            for text in advice(molecule, xc, trained_on):
                said.setdefault(text, {})[name] = None
    for text, names in said.items():
        about = "" if len(names) == len(molecules) else f"{', '.join(names)}: "
        warnings.warn(f"{about}{text}", stacklevel=1)
    return list(said)


def _close(molecule: "Molecule") -> list[str]:
    radii = np.array([COVALENT_RADII[NUCLEAR_CHARGE[s]] for s in molecule.symbols])
    distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
    share = distances / (radii[:, None] + radii)
    share[np.tril_indices(len(radii))] = np.inf
    i, j = np.unravel_index(int(np.argmin(share)), share.shape)
    if not share[i, j] < TOO_CLOSE:
        return []
    return [
        f"atoms {i + 1} ({molecule.symbols[i]}) and {j + 1} ({molecule.symbols[j]}) are "
        f"{distances[i, j] * BOHR_TO_ANGSTROM:.3f} Angstrom apart, {share[i, j]:.2f} of the sum of their "
        "covalent radii: is the unit right?"
    ]


#: Names of bases with three or more functions for each valence orbital.
_TRIPLE = re.compile(r"[a-z0-9+-]*[tq56]z|6-311|(?:aug-)?pc(?:seg)?-[2-9]", re.I)


def _differ(own: Any, card: str) -> bool:
    """Tell whether a basis is another than a card's in a way that is worth a word.

    Beyond triple zeta, bases differ by less than functionals do (0.9 kcal/mol of atomisation energies between
    def2-TZVP and def2-QZVP, where the error of PBE is 15); below, they do not.
    """
    if not isinstance(own, str) or own.lower() == card.lower():
        return not isinstance(own, str)
    return not (_TRIPLE.match(own) and _TRIPLE.match(card))


def _name(basis: Any) -> str:
    return basis if isinstance(basis, str) else "a basis per element"
