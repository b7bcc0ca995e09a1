"""Where the data files are: beside the package in a checkout, inside it once installed."""

import os
from pathlib import Path

from deepchem_dft.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]
#: A file that tells our ``datasets`` folder from somebody else's next to ``site-packages``.
_LANDMARK = "w4-11.yaml"
#: Data sets that are tables in a folder, not YAML.
BOARDS = ("gscdb138",)


def datasets_dir() -> Path:
    """Return the folder with the package's data files.

    A checkout (also an editable install, or an unpacked source package) has them in ``datasets/``
    beside the package; a wheel carries a copy inside it.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If neither is there.

    Examples
    --------
    >>> (datasets_dir() / "w4-11.yaml").is_file()
    True
    """
    candidates = (_PACKAGE.parent / "datasets", _PACKAGE / "_datasets")
    for folder in candidates:
        if (folder / _LANDMARK).is_file():
            return folder
    raise InputError(
        f"the data files are missing from {' and '.join(map(str, candidates))}",
        field="data_dir",
        remedy="reinstall the package, or pass the folder with the YAML files as data_dir",
    )


def find_file(name: str, data_dir: str | Path | None = None) -> Path:
    """Return the path of one data file.

    Parameters
    ----------
    name : str
        File name, e.g. ``"w4-11.yaml"``.
    data_dir : path, optional
        A folder with other versions of the files; the package's own by default.

    Raises
    ------
    InputError
        If there is no such file.
    """
    folder = datasets_dir() if data_dir is None else Path(data_dir)
    path = folder / name
    if not os.path.isfile(path):
        raise InputError(
            f"there is no file {name} in {folder}",
            field="data_dir",
            remedy="leave data_dir out to use the files that come with the package",
        )
    return path
