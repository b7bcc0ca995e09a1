"""Loaders of property data from files that the user downloaded: QMugs, QMOF, OQMD."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties import oqmd, qmof, qmugs
from deepchem_dft.data.properties.records import OnBad, PropertyRecord
from deepchem_dft.data.properties.streams import PathLike, find_one
from deepchem_dft.errors import InputError
from deepchem_dft.molnet.property_loader import Loaded, load_properties
from deepchem_dft.molnet.property_sets import OQMD, QMOF, QMUGS


def load_qmugs(
    featurizer: Any = "molgraphconv",
    splitter: Any = "scaffold",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    task: str | Sequence[str] = "polar",
    threshold: float | None = None,
    level: str = "DFT",
    conformers: str = "lowest",
    on_bad: str = "raise",
) -> Loaded:
    """Load QMugs, 665 thousand drug-like molecules, from the files of its release.

    The layout that is read is described in `deepchem_dft.data.properties.qmugs`.

    Parameters
    ----------
    featurizer : {"molgraphconv", "dmpnn", "ecfp", "rdkit", "raw"} or Featurizer
        DeepChem's; ``"ecfp"`` is ECFP4 with 2048 bits.
    splitter : {"scaffold", "random", "index", "fingerprint"}, Splitter or None
        8 : 1 : 1, repeatable. None gives one data set.
    transformers : sequence of str or TransformerGenerator
        DeepChem's, fitted to the training set, such as ``["normalization"]``.
    reload : bool
        Keep the data sets in ``save_dir`` and take them from there the next time.
    data_dir : path
        Folder of the download, or one of its files: ``summary.csv``, ``structures``,
        ``structures.tar.gz`` or an SDF file. It is read piece by piece.
    save_dir : path, optional
        Folder of the cache; ``DEEPCHEM_DATA_DIR`` or a private one by default.
    task : str or sequence of str
        ``"polar"`` (1) or not (0), or any of ``"dipole"`` (Debye), ``"gap"`` (eV), ``"energy"``
        (Hartree).
    threshold : float, optional
        Dipole moment in Debye up to which a molecule is not polar; by default the median of the
        training set.
    level : {"DFT", "GFN2"}
        omegaB97X-D/def2-SVP or GFN2-xTB.
    conformers : {"lowest", "all"}
        The conformer of lowest energy of each molecule, or all (then the splitter must keep equal
        molecules together, as ``"scaffold"`` does).
    on_bad : {"raise", "skip"}
        What to do with a record that cannot be used: stop, or leave it out and warn.

    Returns
    -------
    tasks : list of str
    datasets : tuple of DiskDataset
        (train, valid, test), or (all,). ``ids`` are SMILES.
    transformers : list
        With ``task="polar"``, the first is a `ClassTransformer` that knows the threshold.

    Raises
    ------
    InputError
        Naming file, record and field of what cannot be used; nothing is kept on disk then.

    References
    ----------
    Isert, Atz, Jimenez-Luna, Schneider, Sci. Data 9, 273 (2022).
    """
    arguments = locals()
    source = qmugs.locate(_downloaded(data_dir, "QMugs", "10.3929/ethz-b-000482129"))

    def read(tasks: list[str], bad: OnBad) -> Iterator[PropertyRecord]:
        return qmugs.read_qmugs(source, tasks, level, conformers, bad)

    return load_properties(QMUGS, read, [source], arguments, level=level, conformers=conformers)


def load_qmof(
    featurizer: Any = "crystal",
    splitter: Any = "random",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    task: str | Sequence[str] = "pore",
    threshold: float | None = None,
    on_bad: str = "raise",
) -> Loaded:
    """Load QMOF, 20 thousand metal-organic frameworks, from the files of its release.

    The layout that is read is described in `deepchem_dft.data.properties.qmof`.

    Parameters
    ----------
    featurizer : {"crystal", "raw"} or Featurizer
        ``"crystal"`` is `CrystalGraphFeaturizer`; ``"raw"`` keeps `Crystal` objects.
    splitter : {"random", "index"}, Splitter or None
    transformers, reload, save_dir, on_bad
        As in `load_qmugs`.
    data_dir : path
        Folder with ``qmof.json`` and ``qmof_structure_data.json``.
    task : str or sequence of str
        ``"pore"``: wide (1) or narrow (0) by the pore-limiting diameter; ``"cavity"``: large (1) or
        small (0) by the largest cavity; or any of ``"pld"``, ``"lcd"`` (Angstrom), ``"band_gap"``
        (PBE, eV).
    threshold : float, optional
        Largest diameter of class 0, Angstrom; by default the median of the training set.

    Returns
    -------
    tasks, datasets, transformers
        As in `load_qmugs`; ``ids`` are the names of the frameworks (``qmof-...``).

    Raises
    ------
    InputError
        As in `load_qmugs`.

    References
    ----------
    Rosen et al., Matter 4, 1578 (2021); npj Comput. Mater. 8, 112 (2022).
    """
    arguments = locals()
    folder = Path(_downloaded(data_dir, "QMOF", "10.6084/m9.figshare.13147324"))
    files = [find_one(folder, qmof.LABELS), find_one(folder, qmof.STRUCTURES)]

    def read(tasks: list[str], bad: OnBad) -> Iterator[PropertyRecord]:
        return qmof.read_qmof(folder, tasks, bad)

    return load_properties(QMOF, read, files, arguments)


def load_oqmd(
    featurizer: Any = "crystal",
    splitter: Any = "random",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    task: str | Sequence[str] = "conduction",
    threshold: Sequence[float] | None = None,
    on_bad: str = "raise",
) -> Loaded:
    """Load entries of the Open Quantum Materials Database from answers of its REST interface.

    The layout that is read, and an address to ask, is in `deepchem_dft.data.properties.oqmd`.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, save_dir, on_bad
        As in `load_qmof`.
    data_dir : path
        A JSON file, or a folder of them.
    task : str or sequence of str
        ``"conduction"``: metal (0), semiconductor (1) or insulator (2) by the band gap; or any of
        ``"formation_energy"``, ``"stability"`` (eV/atom), ``"band_gap"`` (PBE, eV).
    threshold : sequence of two floats, optional
        Largest gaps of metals and of semiconductors, eV; 0 and 3 by default. (The second is a
        convention; gaps of PBE are too small.)

    Returns
    -------
    tasks, datasets, transformers
        As in `load_qmugs`; ``ids`` are the ``entry_id``.

    Raises
    ------
    InputError
        As in `load_qmugs`.

    References
    ----------
    Saal, Kirklin, Aykol, Meredig, Wolverton, JOM 65, 1501 (2013).
    """
    arguments = locals()
    files = oqmd.pages(_downloaded(data_dir, "OQMD", "oqmd.org/oqmdapi/formationenergy"))

    def read(tasks: list[str], bad: OnBad) -> Iterator[PropertyRecord]:
        return oqmd.read_oqmd(str(data_dir), tasks, bad)

    return load_properties(OQMD, read, files, arguments)


def _downloaded(data_dir: PathLike | None, name: str, where: str) -> str:
    if data_dir is None:
        raise InputError(
            f"{name} does not come with this package",
            field="data_dir",
            remedy=f"download it ({where}) and give its folder",
        )
    if not os.path.exists(data_dir):
        raise InputError(
            "there is no such file or folder",
            file=os.fspath(data_dir),
            field="data_dir",
            remedy=f"download {name} ({where})",
        )
    return os.fspath(data_dir)
