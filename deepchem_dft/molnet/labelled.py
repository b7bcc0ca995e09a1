"""Loaders of labels that were computed here, by `deepchem_dft.data.properties.labelling`."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties.label_file import LabelRow, read_labels, read_settings
from deepchem_dft.data.properties.records import OnBad, PropertyRecord, each, from_smiles, molecule_record
from deepchem_dft.data.properties.streams import PathLike
from deepchem_dft.molnet.location import find_file
from deepchem_dft.molnet.property_loader import Loaded, load_properties
from deepchem_dft.molnet.property_sets import LABELLED


def load_labelled(
    path: PathLike,
    featurizer: Any = "molgraphconv",
    splitter: Any = "scaffold",
    transformers: Any = (),
    reload: bool = True,
    save_dir: str | None = None,
    *,
    task: str | Sequence[str] = "polar",
    threshold: float | None = None,
    on_bad: str = "raise",
) -> Loaded:
    """Load labels that ``deepchem-dft data label`` computed.

    Parameters
    ----------
    path : path
        The CSV file, or another one with the columns smiles, dipole (Debye), gap (eV), energy
        (Hartree). Molecules that could not be labelled are left out.
    featurizer, splitter, transformers, reload, save_dir, task, threshold, on_bad
        As in `load_qmugs`.

    Returns
    -------
    tasks, datasets, transformers
        As in `load_qmugs`.

    Raises
    ------
    InputError
        As in `load_qmugs`.

    References
    ----------
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019) (GFN2-xTB).
    """
    arguments = locals()
    source, expected = Path(path), read_settings(path).get("molecules")
    if expected and (there := sum(1 for _ in read_labels(source))) < expected:
        warnings.warn(
            f"{source} has {there} of {expected} molecules; go on with "
            "'deepchem-dft data label ... --resume'",
            stacklevel=2,
        )

    def read(tasks: list[str], bad: OnBad) -> Iterator[PropertyRecord]:
        def make(numbered: tuple[int, LabelRow]) -> PropertyRecord:
            line, row = numbered
            entry = f"line {line}" + (f" ({row.name})" if row.name else "")
            molecule = from_smiles(row.smiles, str(source), entry)
            values = {task: getattr(row, task) for task in tasks}
            return molecule_record(molecule, values, str(source), entry)

        yield from each((row for row in read_labels(source) if not row[1].problem), make, bad)

    return load_properties(LABELLED, read, [source], arguments)


def load_nci(
    featurizer: Any = "molgraphconv",
    splitter: Any = "scaffold",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    task: str | Sequence[str] = "polar",
    threshold: float | None = None,
) -> Loaded:
    """Load GFN2-xTB labels of some 2,000 small molecules of the National Cancer Institute.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, save_dir, task, threshold
        As in `load_qmugs`.
    data_dir : str, optional
        Folder with another version of ``nci-gfn2.csv``.

    Returns
    -------
    tasks, datasets, transformers
        As in `load_qmugs`.

    Raises
    ------
    InputError
        As in `load_qmugs`.

    References
    ----------
    The molecules: NCI open database, as in RDKit's ``Data/NCI/first_5K.smi``. The labels:
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).

    Examples
    --------
    >>> tasks, (train, valid, test), transformers = load_nci(featurizer="ecfp")
    >>> tasks, train.X.shape[1], transformers[0].classes
    (['polar'], 2048, ('non-polar', 'polar'))
    """
    return load_labelled(
        find_file("nci-gfn2.csv", data_dir),
        featurizer,
        splitter,
        transformers,
        reload,
        save_dir,
        task=task,
        threshold=threshold,
    )
