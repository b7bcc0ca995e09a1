"""The one reader of files that hold a molecule: xyz by our own rules, others by RDKit and ASE."""

from deepchem_dft.errors import InputError
from deepchem_dft.files import PathLike, open_text
from deepchem_dft.molecule.reading import xyz

__all__ = ["ENDINGS", "is_file_name", "read_one"]

_BY_RDKIT = (".mol", ".sdf", ".pdb")
_BY_ASE = (".gjf", ".com", ".gen", ".traj")
#: Endings of the files that are read; those of text perhaps followed by ``.gz``.
ENDINGS = (*xyz.ENDINGS, *_BY_RDKIT, *_BY_ASE)


def is_file_name(text: str) -> bool:
    """Tell whether a text is the name of a file that is read, rather than a geometry.

    Examples
    --------
    >>> [is_file_name(t) for t in ("../Water.XYZ", "w.sdf.gz", "w.cif", "H 0 0 0; H 0 0 1.4")]
    [True, True, False, False]
    """
    return "\n" not in text and _ending(text).endswith(ENDINGS)


def _ending(text: str) -> str:
    return text.strip().lower().removesuffix(".gz")


def read_one(path: PathLike) -> xyz.XYZGeometry:
    """Read a file that holds one geometry.

    Parameters
    ----------
    path : path
        xyz and extended xyz by :mod:`~deepchem_dft.molecule.reading.xyz`; ``.mol``, ``.sdf`` and
        ``.pdb`` by RDKit; Gaussian's input (``.gjf``, ``.com``), DFTB+'s ``.gen`` and ASE's ``.traj`` by
        ASE. Text may be compressed (``.gz``); a byte order mark and UTF-16 with one are fine.

    Returns
    -------
    XYZGeometry
        In Angstrom.

    Raises
    ------
    InputError
        Naming the file: for another ending, several geometries, periodic ones, drawings without depth,
        molecules that lack hydrogens, and whatever else cannot be read.
    """
    file = str(path)
    if not is_file_name(file):
        raise InputError(
            "no geometry is read from files of this kind",
            file=file,
            field="geometry",
            remedy=f"give a file that ends in {', '.join(ENDINGS)}, or convert it (Open Babel, ASE)",
        )
    kind = _ending(file)
    if kind.endswith(".traj"):
        from deepchem_dft.molecule.reading.by_ase import from_ase

        return from_ase(file)
    with open_text(path, errors="replace") as stream:
        if kind.endswith(xyz.ENDINGS):
            return xyz.only(xyz.frames(stream, file), file)
        if kind.endswith(_BY_ASE):
            from deepchem_dft.molecule.reading.by_ase import from_ase

            return from_ase(file, stream)
        from deepchem_dft.molecule.reading.by_rdkit import from_mol, from_pdb

        return (from_pdb if kind.endswith(".pdb") else from_mol)(stream, file)
