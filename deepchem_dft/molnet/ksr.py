"""Exact one-dimensional molecules for `KSRModel`, in MoleculeNet's form, made when first used."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np

from deepchem_dft import __version__
from deepchem_dft.checks import choice
from deepchem_dft.data.featurizer import object_array
from deepchem_dft.errors import InputError
from deepchem_dft.lattice.exact import ORBITALS, ExactState, exact
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import CURVE, FAMILIES, TEST, TRAIN, VALID, System
from deepchem_dft.molecule.cache import reason
from deepchem_dft.molnet.cache import default_save_dir, made_once
from deepchem_dft.molnet.stored import Shard, disk_dataset, private_folder, read_shards, write_shard

logger = logging.getLogger(__name__)

Loaded = tuple[list[str], tuple[dc.data.Dataset, ...], list[Any]]
#: Distances of one family, or of several by name.
Distances = Sequence[float] | Mapping[str, Sequence[float]]

TASKS = ["energy"]
_PARTS = ("train", "valid", "test")
_SPLITTERS: dict[str, type[dc.splits.Splitter]] = {
    "index": dc.splits.IndexSplitter,
    "random": dc.splits.RandomSplitter,
}
_SEED = 0


def load_ksr(
    featurizer: Any = None,
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    family: str | Sequence[str] = "h2",
    train: Distances | None = None,
    valid: Distances | None = None,
    test: Distances | None = None,
    systems: Sequence[System] | None = None,
    grid: Grid | None = None,
    orbitals: int = ORBITALS,
    progress: Callable[[int, int, str], None] | None = None,
) -> Loaded:
    """Load exact energies and densities of molecules on a line: H2+, H2, H4, H2H2, LiH...

    They are not downloaded but made, and each kept in the cache: 0.2 s for two electrons, 1 s for
    four.

    Parameters
    ----------
    featurizer : None or "raw"
        ``X`` holds `ExactState` objects.
    splitter : {"published", "index", "random"}, Splitter or None
        ``"published"`` takes the separations of Li et al. where there are any: H2 is trained on at
        1.28 and 3.84 Bohr; H2+ and H2H2 are only tested on, families of which the paper has nothing
        at all separations. None gives one data set of all separations; the others divide that
        8 : 1 : 1.
    transformers : empty sequence
        Values stay in Hartree; anything else is refused.
    reload : bool
        Keep the data sets in ``save_dir`` and take them from there the next time.
    data_dir : None
        There are no files to look for.
    save_dir : str, optional
        Folder of the data sets; ``DEEPCHEM_DATA_DIR`` or a private one by default.
    family : str or sequence of str
        Of `deepchem_dft.lattice.systems.FAMILIES`: h2_plus, h2, h3_plus, h3, h4, h2h2, heh_plus,
        lih, beh_plus; hydrogen_like, helium_like, lithium_like, beryllium_like.
    train, valid, test : sequence of float, or mapping from family to sequence, optional
        Other distances (nuclear charges for the ions) than those of ``splitter="published"``. A
        sequence counts for the one family there is, a mapping also for a family not in ``family``;
        an empty sequence is an empty part.
    systems : sequence of System, optional
        These instead of a family; they have no published split.
    grid : Grid, optional
        Default: that of the paper.
    orbitals : int
        Natural orbitals for three and four electrons.
    progress : callable, optional
        Called with (done, total, name) after each molecule that is made.

    Returns
    -------
    tasks : list of str
        ``["energy"]``.
    datasets : tuple of DiskDataset
        (train, valid, test), or (all,). ``y`` (N, 1): energies of the electrons, without the
        repulsion of the nuclei, Hartree. ``ids``: names such as ``H2 R=1.28``.
    transformers : list
        Empty.

    Raises
    ------
    InputError
        For unknown families, splitters, distances that are no numbers, molecules that do not fit
        the grid or have more than four electrons.

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).

    Examples
    --------
    >>> tasks, (train, valid, test), transformers = load_ksr(test=[1.52, 6.0])
    >>> train.ids.tolist(), test.y.round(4).tolist()
    (['H2 R=1.28', 'H2 R=3.84'], [[-2.0071], [-1.4267]])
    >>> train.X[0].density.shape, round(train.X[0].total_energy, 4)
    ((513,), -1.4357)
    """
    for name, value, allowed in (
        ("featurizer", featurizer, "None"),
        ("transformers", transformers, "[]"),
        ("data_dir", data_dir, "None"),
    ):
        if value is not None and value != "raw" and len(value):
            raise InputError(
                f"{name}={value!r} makes no sense here: the data are made, and stay exact states and Hartree",
                field=name,
                remedy=f"use {allowed}",
            )
    grid = grid or Grid()
    families = [family] if isinstance(family, str) else list(family)
    if isinstance(splitter, str) and splitter.lower() == "published":
        if systems is not None:
            raise InputError(
                "systems of your own have no published split", field="splitter", remedy="use splitter=None"
            )
        parts = {
            part: _systems(families, chosen, part)
            for part, chosen in zip(_PARTS, (train, valid, test), strict=True)
        }
    else:
        for part, chosen in zip(_PARTS, (train, valid, test), strict=True):
            if chosen is not None:
                raise InputError(
                    f"{part} distances need the published split",
                    field=part,
                    remedy='use splitter="published", or systems=[...]',
                )
        everything = list(systems) if systems is not None else _systems(families, None, "all")
        parts = _divided(everything, splitter)

    def make(folder: Path) -> None:
        done, total = 0, sum(map(len, parts.values()))
        for part, members in parts.items():
            states = []
            for system in members:
                states.append(exact(system, grid, orbitals))
                done += 1
                if progress:
                    progress(done, total, system.name)
            (folder / part).mkdir()
            write_shard(folder / part / "shard-0.npz", _shard(states))

    def opened(folder: Path) -> Loaded:
        private = private_folder()
        return (
            list(TASKS),
            tuple(disk_dataset(read_shards(folder / part), private / part, TASKS) for part in parts),
            [],
        )

    save_dir = save_dir or default_save_dir()
    if reload and save_dir is not None:
        everything_known = {part: [astuple(s) for s in members] for part, members in parts.items()}
        text = json.dumps([__version__, _code(), astuple(grid), orbitals, everything_known])
        key = hashlib.sha256(text.encode()).hexdigest()[:20]
        home = Path(save_dir) / "ksr-featurized"
        try:
            return made_once(home, key, make, opened)
        except OSError as error:  # a folder that cannot be written, a full disk
            logger.warning("ksr is not cached in %s: %s", home, reason(error))
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return opened(Path(folder))


def _systems(families: Sequence[str], chosen: Distances | None, part: str) -> list[System]:
    """Return the systems of one part: those chosen, or those published."""
    if isinstance(chosen, Mapping):
        wanted = dict(chosen)
    elif chosen is not None:
        if len(families) != 1:
            raise InputError(
                f"distances for {len(families)} families",
                field=part,
                remedy="give a mapping from family to distances",
            )
        wanted = {families[0]: chosen}
    else:
        wanted = {}
        for name in families:
            choice(name, FAMILIES, "family")
            published = {
                "train": TRAIN.get(name, ()),
                "valid": VALID.get(name, ()),
                "test": TEST.get(name, CURVE[name]),
                "all": CURVE[name],
            }
            wanted[name] = published[part]
    return [
        FAMILIES[choice(name, FAMILIES, "family")](_number(value, part))
        for name, values in wanted.items()
        for value in values
    ]


def _number(value: Any, part: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{value!r} is not a distance", field=part, remedy="give numbers of Bohr") from None


def _divided(everything: list[System], splitter: Any) -> dict[str, list[System]]:
    if splitter is None:
        return {"all": everything}
    if isinstance(splitter, str) and splitter.lower() in _SPLITTERS:
        splitter = _SPLITTERS[splitter.lower()]()
    if not isinstance(splitter, dc.splits.Splitter):
        raise InputError(
            f"unknown splitter {splitter!r}",
            field="splitter",
            remedy=f"use published, {', '.join(_SPLITTERS)}, a DeepChem Splitter or None for one data set",
        )
    table = dc.data.NumpyDataset(object_array(everything), np.zeros((len(everything), 1)))
    split = splitter.split(table, seed=_SEED)
    return {part: [everything[int(i)] for i in indices] for part, indices in zip(_PARTS, split, strict=True)}


def _shard(states: list[ExactState]) -> Shard:
    energies = np.array([state.energy for state in states]).reshape(-1, 1)
    names = np.array([state.system.name for state in states], dtype=str)
    return object_array(states), energies, np.ones_like(energies), names


def _code() -> str:
    """Return a hash of the code that makes exact states."""
    import deepchem_dft.lattice.exact as room

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(Path(str(room.__file__)).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
