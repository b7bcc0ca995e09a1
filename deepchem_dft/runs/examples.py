"""Configurations that come with the package, by name: ``deepchem-dft train --example NAME``."""

import difflib
from pathlib import Path

from deepchem_dft.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]
#: A file that tells our ``examples`` folder from somebody else's next to ``site-packages``.
_LANDMARK = "train_pbe_mgga.yaml"
#: Folders whose configurations make or read data beside themselves, which a package cannot hold.
_APART = ("hamiltonian", "benchmarks", "data")


def examples_dir() -> Path | None:
    """Return the folder with the examples: ``examples/`` of a checkout, a copy inside a wheel."""
    for folder in (_PACKAGE.parent / "examples", _PACKAGE / "_examples"):
        if (folder / _LANDMARK).is_file():
            return folder
    return None


def names() -> list[str]:
    """Return the names of all configurations that can be trained as they are.

    Examples
    --------
    >>> "train_pbe_mgga" in names() and "ksr/h2_global" in names()
    True
    """
    folder = examples_dir()
    if folder is None:
        return []
    found = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return sorted(
        place.as_posix()
        for place in found
        if not set(_APART) & set(place.parts) and not place.name.startswith("hamiltonian")
    )


def find(name: str) -> Path:
    """Return the file of an example.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    folder, known = examples_dir(), names()
    text = name.removeprefix("examples/").removesuffix(".yaml")
    if folder is None or text not in known:
        near = difflib.get_close_matches(text, known, 1, 0.5)
        raise InputError(
            f"there is no example {name[:60]!r}",
            field="example",
            remedy=f"did you mean {near[0]}" if near else f"one of {', '.join(known)}",
        )
    return folder / f"{text}.yaml"
