"""Files that ASE reads: a molecule as ``Atoms``, and the charge and spin that it carries."""

import io
from typing import Any, TextIO

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import element
from deepchem_dft.molecule.reading import comment
from deepchem_dft.molecule.reading.xyz import XYZGeometry, several

#: ASE's names of the formats.
_FORMATS = {".gjf": "gaussian-in", ".com": "gaussian-in", ".gen": "gen", ".traj": "traj"}
#: Largest text of one molecule, in characters.
_LARGEST = 1 << 26


def from_ase(file: str, stream: TextIO | None = None) -> XYZGeometry:
    """Read the molecule of a file by ASE.

    Parameters
    ----------
    file : str
        Its name; the ending tells the format.
    stream : file, optional
        Its text. ASE opens the file itself without.

    Returns
    -------
    XYZGeometry
        Charge and spin are those of Gaussian's molecule specification, of ``atoms.info``, or the sums of
        initial charges and magnetic moments.

    Raises
    ------
    InputError
        If ASE does not read it, for periodic systems, several geometries, and charges that are not
        whole.
    """
    try:
        import ase.io
    except ImportError:
        raise InputError(
            "this kind of file is read by ASE, which is not installed", file=file, remedy="pip install ase"
        ) from None
    name = file.strip().lower().removesuffix(".gz")
    kind = next(kind for ending, kind in _FORMATS.items() if name.endswith(ending))
    # without a calculator ASE drops the charge of Gaussian's input
    options: dict[str, Any] = {"attach_calculator": True} if kind == "gaussian-in" else {}
    source = file if stream is None else io.StringIO(stream.read(_LARGEST))
    try:
        images = ase.io.read(source, index=":", format=kind, **options)
    except Exception as error:  # ASE's readers raise whatever their parsing meets
        raise InputError(
            f"ASE cannot read it as {kind} ({type(error).__name__}: {str(error)[:120]})",
            file=file,
            field="geometry",
            remedy="check the file, or give an xyz file",
        ) from None
    if not isinstance(images, list) or len(images) != 1:
        raise several(file) if images else InputError("the file holds no geometry", file=file)
    try:
        return _of_atoms(images[0])
    except InputError as error:
        raise error.located(file=file) from None


def _of_atoms(atoms: Any) -> XYZGeometry:
    if atoms.pbc.any():
        raise InputError(
            "periodic systems are not supported", field="pbc", remedy="give the molecule without its cell"
        )
    remarks: list[str] = []
    said = dict(getattr(atoms.calc, "parameters", None) or {}) | atoms.info
    pairs = [(key.lower(), str(value)) for key, value in said.items() if isinstance(key, str)]
    charge, spin = comment.electrons(pairs, remarks, "the file")
    charge, moment = (
        comment.with_sum(known, what, f"the sum of {name}", float(parts.sum()), "the file")
        if parts.any()
        else known
        for known, what, name, parts in (
            (charge, "charge", "initial_charges", atoms.get_initial_charges()),
            (None, "spin", "initial_magmoms", atoms.get_initial_magnetic_moments()),
        )
    )
    spin = abs(moment) if spin is None and moment is not None else spin
    symbols = [element(symbol) for symbol in atoms.get_chemical_symbols()]
    return XYZGeometry(symbols, atoms.get_positions(), charge, spin, tuple(remarks))
