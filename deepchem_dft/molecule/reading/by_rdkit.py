"""MOL, SDF and PDB files that RDKit reads: nuclei, formal charges, unpaired electrons."""

from collections.abc import Iterable
from typing import Any

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import element
from deepchem_dft.molecule.reading import comment
from deepchem_dft.molecule.reading.sdf import sdf_records
from deepchem_dft.molecule.reading.xyz import XYZGeometry, several

_FLAT = "all atoms lie in one plane and the file does not say 3D: they are taken as they stand"


def from_mol(lines: Iterable[str], file: str) -> XYZGeometry:
    """Read a MOL file, or an SDF file of one record.

    Parameters
    ----------
    lines : iterable of str
    file : str
        Its name, for messages.

    Returns
    -------
    XYZGeometry
        The charge is the sum of the formal ones, the spin that of ``M  RAD`` lines if there are any. Tags
        such as ``charge`` and ``mult`` count as in the comment of an xyz file.

    Raises
    ------
    InputError
        For several records, drawings without depth, hydrogens that the bonds ask for and the file does
        not have, and charges that contradict each other.
    """
    _check_rdkit(file)
    records = sdf_records(lines, file)
    record = next(records, None)
    if record is None:
        raise InputError("the file is empty", file=file, field="geometry", remedy="give a MOL block")
    if next(records, None) is not None:
        raise several(file)
    molecule = record.molecule()
    if not molecule.GetNumAtoms():
        raise InputError("there are no atoms", file=file, field="atoms", remedy="check the file")
    remarks: list[str] = []
    positions = molecule.GetConformer().GetPositions()
    flat = not positions[:, 2].any() and len(positions) > 1
    code = (record.block.splitlines() + [""])[1][20:22].upper()
    if flat and code == "2D":
        raise InputError(
            "the coordinates are those of a drawing (2D)",
            file=file,
            field="atoms",
            remedy="write a geometry, or give the molecule as a SMILES, for which RDKit makes one",
        )
    if flat and code != "3D" and len(positions) > 2:
        remarks.append(_FLAT)
    for atom in molecule.GetAtoms():
        if missing := atom.GetNumImplicitHs():
            raise InputError(
                f"atom {atom.GetIdx() + 1} ({atom.GetSymbol()}) has {missing} hydrogen{'s' * (missing > 1)} "
                "that the file does not hold",
                file=file,
                field="atoms",
                remedy="write hydrogens into the file, or mark radicals with 'M  RAD'",
            )
    try:
        charge, spin = comment.electrons(
            [(key.strip().lower(), value.strip()) for key, value in record.tags.items()], remarks, "the tags"
        )
        formal = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        charge = comment.with_sum(charge, "charge", "the sum of formal charges", float(formal), "the tags")
    except InputError as error:
        raise error.located(file=file) from None
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if spin is None and unpaired:
        spin = unpaired
    return XYZGeometry(_elements(molecule), positions, charge, spin, tuple(remarks))


def from_pdb(lines: Iterable[str], file: str) -> XYZGeometry:
    """Read a PDB file of one model.

    Parameters
    ----------
    lines : iterable of str
    file : str
        Its name, for messages.

    Returns
    -------
    XYZGeometry
        The charge is the sum of those in columns 79 and 80, if any is given.

    Raises
    ------
    InputError
        For several models, alternative places of an atom, and atoms without an element (columns 77 and 78),
        which would have to be guessed from their names.
    """
    _check_rdkit(file)
    from rdkit import Chem, rdBase

    rows = [line.rstrip("\r\n") for line in lines]
    atoms = [row for row in rows if row.startswith(("ATOM  ", "HETATM"))]
    if sum(row.startswith("MODEL ") for row in rows) > 1:
        raise several(file)
    for number, row in enumerate(atoms, start=1):
        problem = ""
        if not row[76:78].strip():
            problem = "has no element in columns 77 and 78"
        elif row[16:17].strip():
            problem = f"is in an alternative place ({row[16:17]!r} in column 17)"
        if problem:
            raise InputError(
                f"atom {number} {problem}",
                file=file,
                field="atoms",
                remedy="complete the file (with Open Babel, say) or choose one place for each atom",
            )
    with rdBase.BlockLogs():
        molecule = Chem.MolFromPDBBlock(
            "\n".join([*atoms, "END", ""]), sanitize=False, removeHs=False, proximityBonding=False
        )
    if molecule is None or molecule.GetNumAtoms() != len(atoms) or not atoms:
        raise InputError(
            "RDKit cannot read the atoms" if atoms else "there are no atoms",
            file=file,
            field="atoms",
            remedy="check the columns of the ATOM and HETATM lines",
        )
    remarks = []
    cell = next((row.split()[1:4] for row in rows if row.startswith("CRYST1")), [])
    if any(length.strip("0.") not in ("", "1") for length in cell):
        remarks.append("the cell (CRYST1) is not read: the atoms are taken as one molecule")
    if not any(atom.GetAtomicNum() == 1 for atom in molecule.GetAtoms()):
        remarks.append("there is no hydrogen in the file")
    given = any(row[78:80].strip() for row in atoms)
    charge = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms()) if given else None
    positions = molecule.GetConformer().GetPositions()
    return XYZGeometry(_elements(molecule), positions, charge, None, tuple(remarks))


def _elements(molecule: Any) -> list[str]:
    return [element(atom.GetSymbol()) for atom in molecule.GetAtoms()]


def _check_rdkit(file: str) -> None:
    try:
        import rdkit  # noqa: F401
    except ImportError:
        raise InputError(
            "this kind of file is read by RDKit, which is not installed",
            file=file,
            remedy="pip install rdkit",
        ) from None
