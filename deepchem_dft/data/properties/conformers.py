"""From a molecule as written to nuclei in space: RDKit's distance geometry and force fields."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepchem_dft.data.properties.molecule_files import RawMolecule
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import SYMBOLS
from deepchem_dft.molecule.reading.sdf import SDFRecord
from deepchem_dft.molecule.reading.xyz import Frame, XYZGeometry


@dataclass(frozen=True)
class Geometry:
    """Nuclei of a molecule.

    Attributes
    ----------
    smiles : str
        Canonical, without hydrogens.
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) in Angstrom.
    """

    smiles: str
    numbers: np.ndarray
    positions: np.ndarray


def parse(raw: RawMolecule) -> Any:
    """Return the RDKit molecule that is meant, if its dipole moment is well defined.

    Raises
    ------
    InputError
        If nothing can be made of it, and for ions, open shells and several molecules at once.

    Examples
    --------
    >>> parse(RawMolecule(1, "ethanol", "CCO", "smi")).GetNumAtoms()
    3
    >>> parse(RawMolecule(1, "acetate", "CC(=O)[O-]", "smi"))
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: charge -1: the dipole moment depends on the origin.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        if isinstance(raw.content, SDFRecord):
            molecule = raw.content.molecule()
        elif isinstance(raw.content, Frame):
            molecule = _bonded(raw.content.read())
        else:
            molecule = Chem.MolFromSmiles(raw.content)
    if molecule is None:
        raise InputError(f"RDKit cannot read {str(raw.content)[:80]!r}")
    if not molecule.GetNumAtoms():
        raise InputError("there are no atoms")
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise InputError(f"{atom.GetSymbol()!r} is no element")
    parts = len(Chem.GetMolFrags(molecule))
    if parts > 1:
        raise InputError(f"{parts} separate molecules: how they lie to each other is not defined")
    charge = Chem.GetFormalCharge(molecule)
    if charge:
        raise InputError(f"charge {charge:+d}: the dipole moment depends on the origin")
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if unpaired:
        raise InputError(f"{unpaired} unpaired electrons: only closed shells are labelled")
    return molecule


def geometry(raw: RawMolecule, seed: int = 0, conformers: int = 10) -> Geometry:
    """Return the geometry to be labelled.

    XYZ frames and SDF records with three-dimensional coordinates and all hydrogens keep theirs.
    Otherwise ETKDGv3 makes ``conformers`` conformers, MMFF94 (UFF where it has no parameters)
    relaxes them, and the lowest is taken: the result depends on the seed only through which minima
    were found.

    Parameters
    ----------
    raw : RawMolecule
    seed : int
    conformers : int

    Returns
    -------
    Geometry

    Raises
    ------
    InputError
        As `parse`, and if no geometry is found.

    References
    ----------
    Wang, Witek, Landrum, Riniker, J. Chem. Inf. Model. 60, 2044 (2020) (ETKDGv3).
    Halgren, J. Comput. Chem. 17, 490 (1996) (MMFF94).

    Examples
    --------
    >>> methane = geometry(RawMolecule(1, "methane", "C", "smi"))
    >>> methane.smiles, methane.numbers.tolist(), methane.positions.shape
    ('C', [6, 1, 1, 1, 1], (5, 3))
    """
    from rdkit import Chem, rdBase

    molecule = parse(raw)
    with rdBase.BlockLogs():
        full = Chem.AddHs(molecule)
        smiles = Chem.MolToSmiles(Chem.RemoveHs(molecule))
        given = full.GetNumAtoms() == molecule.GetNumAtoms() and molecule.GetNumConformers() > 0
        if given and molecule.GetConformer().Is3D():
            positions = molecule.GetConformer().GetPositions()
        else:
            positions = _lowest(full, seed, conformers)
    return Geometry(smiles, np.array([a.GetAtomicNum() for a in full.GetAtoms()]), positions)


def from_smiles(smiles: str, seed: int = 0, conformers: int = 10) -> XYZGeometry:
    """Return a geometry for a SMILES, of ions and open shells, too, as :func:`geometry` makes them.

    Parameters
    ----------
    smiles : str
    seed : int
    conformers : int

    Returns
    -------
    XYZGeometry
        In Angstrom; formal charge, and 2S of the unpaired electrons that the SMILES writes.

    Raises
    ------
    InputError
        If RDKit is missing, reads no molecule in it, or finds no geometry.

    Examples
    --------
    >>> found = from_smiles("[NH4+]")
    >>> found.symbols, found.charge, found.spin
    (['N', 'H', 'H', 'H', 'H'], 1, 0)
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise InputError(
            "SMILES are read by RDKit, which is not installed", field="geometry", remedy="pip install rdkit"
        ) from None

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or not molecule.GetNumAtoms():
            raise InputError(f"RDKit reads no SMILES in {smiles[:80]!r}", field="geometry")
        if len(Chem.GetMolFrags(molecule)) > 1:
            raise InputError(
                "separate molecules in one SMILES: how they lie to each other is not defined",
                field="geometry",
                remedy="write one SMILES for each",
            )
        full = Chem.AddHs(molecule)
        numbers = [atom.GetAtomicNum() for atom in full.GetAtoms()]
        if 0 in numbers:
            raise InputError(f"not every atom of {smiles[:80]!r} is an element", field="geometry")
        positions = np.zeros((1, 3)) if len(numbers) == 1 else _lowest(full, seed, conformers)
        charge = Chem.GetFormalCharge(full)
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in full.GetAtoms())
    return XYZGeometry([SYMBOLS[z] for z in numbers], positions, charge, unpaired)


def _lowest(molecule: Any, seed: int, conformers: int) -> np.ndarray:
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    options: Any = rdDistGeom.ETKDGv3()
    # RDKit multiplies the seed by the number of the conformer: 0 would make all of them the same.
    options.randomSeed, options.numThreads, options.maxIterations = seed + 1, 1, 50
    molecule.RemoveAllConformers()
    found = list(rdDistGeom.EmbedMultipleConfs(molecule, conformers, options))
    if not found:
        options.useRandomCoords = True  # slower, for cages and other knots
        found = list(rdDistGeom.EmbedMultipleConfs(molecule, conformers, options))
    if not found:
        raise InputError("ETKDG finds no geometry")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        relaxed = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, 1, 1000)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        relaxed = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, 1, 1000)
    else:
        raise InputError("neither MMFF94 nor UFF has parameters for all of its atoms")
    energies = [energy for _, energy in relaxed]
    if not np.isfinite(energies).all():
        raise InputError("the force field fails")
    return molecule.GetConformer(found[int(np.argmin(energies))]).GetPositions()


def _bonded(written: XYZGeometry) -> Any:
    """Find the bonds of a neutral molecule from its geometry."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    if written.charge:
        raise InputError(f"charge {written.charge:+d}: the dipole moment depends on the origin")
    if written.spin:
        raise InputError(f"{written.spin} unpaired electrons: only closed shells are labelled")
    rows = [
        f"{symbol} {x:.10f} {y:.10f} {z:.10f}"
        for symbol, (x, y, z) in zip(written.symbols, written.positions)
    ]
    molecule = Chem.MolFromXYZBlock("\n".join([str(len(rows)), "", *rows, ""]))
    if molecule is None:
        raise InputError("RDKit cannot read the XYZ frame")
    try:
        rdDetermineBonds.DetermineBonds(molecule, charge=0)
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise InputError(f"no neutral molecule has these bonds ({reason})") from None
    return molecule
