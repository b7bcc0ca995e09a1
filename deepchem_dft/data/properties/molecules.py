"""Records of RDKit molecules."""

from __future__ import annotations

from typing import Any

from deepchem_dft.data.properties.records import PropertyRecord
from deepchem_dft.errors import InputError


def from_smiles(smiles: str, file: str, entry: str) -> Any:
    """Return the RDKit molecule of a SMILES text.

    Raises
    ------
    InputError
        With the given file and entry if there is no such molecule.

    Examples
    --------
    >>> from_smiles("[H]C([H])([H])O[H]", "a.csv", "line 2").GetNumAtoms()
    2
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None or not molecule.GetNumAtoms():
        raise InputError(f"RDKit cannot read {smiles[:80]!r}", file=file, entry=entry, field="smiles")
    return molecule


def molecule_record(molecule: Any, values: dict[str, float], file: str, entry: str) -> PropertyRecord:
    """Return a record whose name is the canonical SMILES of the molecule."""
    from rdkit import Chem

    return PropertyRecord(Chem.MolToSmiles(molecule), molecule, values, file, entry)
