"""One ``load_*`` function per data set, in MoleculeNet's signature."""

from collections.abc import Sequence
from typing import Any

from deepchem_dft.checks import choice
from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import InputError
from deepchem_dft.molnet.entries import replaced, with_basis
from deepchem_dft.molnet.loader import Choose, DFTLoader, Loaded, passed_on
from deepchem_dft.units import HARTREE_TO_KCAL


def _load(name: str, arguments: dict[str, Any], keep: Choose = list, files: Sequence[str] = ()) -> Loaded:
    """Load a data set for a function that was called with ``arguments``."""
    basis = arguments["basis"]

    def choose(entries: list[DFTEntry]) -> list[DFTEntry]:
        kept = keep(entries)
        return kept if basis is None else [with_basis(entry, basis) for entry in kept]

    loader = DFTLoader(name, files or [f"{name}.yaml"], choose, **passed_on(arguments))
    return loader.load_dataset(reload=arguments["reload"])


def _without(tag: str, keep: bool) -> Choose:
    return lambda entries: [e for e in entries if keep or not e.tags.get(tag)]


def load_w411(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    multireference: bool = True,
    basis: Any = None,
) -> Loaded:
    """Load W4-11: 114 non-relativistic atomisation energies (31 train, 13 valid, 70 test).

    Parameters
    ----------
    featurizer : None, "dft" or DFTFeaturizer
    splitter : "published", "index", "random", Splitter or None
        ``"published"`` is the split written in the file. None gives one data set. ``"index"`` and
        ``"random"`` split 8 : 1 : 1, each time in the same way.
    transformers : empty sequence
        Values stay in Hartree; anything else is refused.
    reload, save_dir
        Accepted for MoleculeNet's sake. The files are read each time, in a second at most: data
        sets on disk would be pickles, which run code.
    data_dir : str, optional
        Folder with other versions of the YAML files.
    multireference : bool
        Whether to keep the 22 molecules with strong static correlation.
    basis : str or mapping, optional
        Replaces the basis of all systems (def2-tzvp in the file).

    Returns
    -------
    tasks : list of str
    datasets : tuple of DiskDataset
        (train, valid, test), or (all,). ``X`` holds `DFTEntry` objects, ``y`` (N, 1) Hartree.
    transformers : list
        Empty.

    Raises
    ------
    InputError
        For unknown splitters, transformers, bases.

    References
    ----------
    Karton, Daon, Martin, Chem. Phys. Lett. 510, 165 (2011).

    Examples
    --------
    >>> tasks, (train, valid, test), transformers = load_w411(multireference=False)
    >>> len(train), len(valid), len(test)
    (20, 8, 64)
    """
    return _load("w4-11", locals(), _without("multireference", multireference))


def load_xcnn(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    dataset: str = "dataset1",
    densities: bool = False,
    unseen_only: bool = False,
    suspect: bool = True,
    spin_orbit_free: bool = False,
    basis: Any = None,
) -> Loaded:
    """Load the data of Kasim and Vinko: atomisation and ionisation energies, densities.

    Train and valid are ``dataset1`` (6 and 6 energies), ``dataset2`` (12 and 12) or ``dataset3``
    (7 and 6); test is the paper's list, 103 molecules and 18 ionisation energies. That list
    contains molecules and atoms that are trained on: see ``unseen_only``.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir
        As in `load_w411`.
    dataset : {"dataset1", "dataset2", "dataset3"}
    densities : bool
        Add the density entries (15, 19 or 16). Their CCSD references are made when first used.
    unseen_only : bool
        Drop test entries whose molecule or atom is in the training or validation energies of
        ``dataset``.
    suspect : bool
        Whether to keep test values that are probably wrong (isobutane, CF2O, AlCl3).
    spin_orbit_free : bool
        Add the atomic spin-orbit energies to the (experimental) atomisation energies, to compare
        with calculations that have none.
    basis : str or mapping, optional
        Replaces the basis of all systems (6-311++G(3df,3pd) in the files).

    Returns
    -------
    tasks, datasets, transformers
        As in `load_w411`.

    Raises
    ------
    InputError
        For an unknown ``dataset``, and as in `load_w411`.

    References
    ----------
    Kasim, Vinko, Phys. Rev. Lett. 127, 126403 (2021).

    Examples
    --------
    >>> tasks, (train, valid, test), transformers = load_xcnn()
    >>> sorted(train.ids)[:4], len(test)
    (['xcnn-train:ae-CO', 'xcnn-train:ae-H2', 'xcnn-train:ae-LiH', 'xcnn-train:ae-O2'], 121)
    """
    arguments = locals()
    choice(dataset, ("dataset1", "dataset2", "dataset3"), "dataset")

    def keep(entries: list[DFTEntry]) -> list[DFTEntry]:
        kept = []
        for entry in entries:
            if entry.name.startswith("xcnn-train:"):
                if dataset not in entry.tags["datasets"] or not (densities or entry.is_energy):
                    continue
            elif (unseen_only and dataset in entry.tags.get("seen_in", ())) or (
                not suspect and "suspect" in entry.tags
            ):
                continue
            elif entry.split != "test":  # atomic-ip.yaml has train and valid entries of its own
                entry = replaced(entry, split="test")
            if spin_orbit_free and entry.entry_type == "ae":
                shift = entry.tags["atomic_spin_orbit_kcal"] / HARTREE_TO_KCAL
                entry = replaced(entry, true_val=entry.label + shift)
            kept.append(entry)
        return kept

    return _load("xcnn", arguments, keep, files=["xcnn-train.yaml", "xcnn-test.yaml", "atomic-ip.yaml"])


def load_atomic_ip(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    basis: Any = None,
) -> Loaded:
    """Load the ionisation energies of the atoms H-Ar (2 train, 2 valid, 14 test).

    Parameters, returns and errors are those of `load_w411`, without ``multireference``.

    References
    ----------
    NIST Atomic Spectra Database.

    Examples
    --------
    >>> _, (train, valid, test), _ = load_atomic_ip()
    >>> list(train.ids), list(valid.ids)
    (['atomic-ip:O', 'atomic-ip:Ne'], ['atomic-ip:N', 'atomic-ip:F'])
    """
    return _load("atomic-ip", locals())


def load_atomic_ea(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    basis: Any = None,
) -> Loaded:
    """Load the electron affinities of the 12 atoms H-Cl that bind an electron (1, 1, 10).

    Parameters, returns and errors are those of `load_w411`, without ``multireference``. A
    ``basis`` must have diffuse functions to make sense; aug-cc-pvtz is in the file.

    References
    ----------
    Andersen, Haugen, Hotop, J. Phys. Chem. Ref. Data 28, 1511 (1999).
    """
    return _load("atomic-ea", locals())


def load_molecular_ip(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    basis: Any = None,
) -> Loaded:
    """Load 16 adiabatic ionisation energies of molecules, from G21IP (2 train, 2 valid, 12 test).

    Parameters, returns and errors are those of `load_w411`, without ``multireference``.

    References
    ----------
    Curtiss et al., J. Chem. Phys. 94, 7221 (1991), as revised in GMTKN55.
    """
    return _load("molecular-ip", locals())


def load_molecular_vip(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    suspect: bool = True,
    basis: Any = None,
) -> Loaded:
    """Load 86 vertical ionisation energies of molecules (2 train, 4 valid, 80 test).

    Returns and errors are those of `load_w411`.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir, basis
        As in `load_w411`.
    suspect : bool
        Whether to keep the two values that are probably wrong (NO, N2H4).

    References
    ----------
    NIST Computational Chemistry Comparison and Benchmark Database.
    """
    return _load("molecular-vip", locals(), _without("suspect", suspect))


def load_barriers(
    featurizer: Any = "dft",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    basis: Any = None,
) -> Loaded:
    """Load 22 barrier heights through 12 transition states, from BH76 (11, 6, 5).

    Parameters, returns and errors are those of `load_w411`, without ``multireference``. The split
    keeps the two directions of a reaction together.

    References
    ----------
    Zhao, Lynch, Truhlar, Phys. Chem. Chem. Phys. 7, 43 (2005); Zhao, Gonzalez-Garcia, Truhlar,
    J. Phys. Chem. A 109, 2012 (2005).
    """
    return _load("barriers", locals())


def load_h2_curve(
    featurizer: Any = "dft",
    splitter: Any = None,
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    target: str = "binding",
    basis: Any = None,
) -> Loaded:
    """Load the exact dissociation curve of H2, 36 points from 0.3 to 10 Bohr.

    The file has no split, so one data set is returned by default.

    Parameters
    ----------
    featurizer, splitter, transformers, reload, data_dir, save_dir, basis
        As in `load_w411`; ``splitter="published"`` is an error.
    target : {"binding", "total"}
        ``binding``: E(H2) - 2 E(H), entries of type reaction. ``total``: E(H2), type energy.

    Returns
    -------
    tasks, datasets, transformers
        As in `load_w411`.

    References
    ----------
    Sims, Hagstrom, J. Chem. Phys. 124, 094101 (2006); Wolniewicz, J. Chem. Phys. 99, 1851 (1993).

    Examples
    --------
    >>> _, (curve,), _ = load_h2_curve(target="total")
    >>> float(curve.y.min().round(5))
    -1.17448
    """
    arguments = locals()
    if target not in ("binding", "total"):
        raise InputError(f"unknown target {target!r}", field="target", remedy="use binding or total")

    def keep(entries: list[DFTEntry]) -> list[DFTEntry]:
        if target == "binding":
            return entries
        return [
            replaced(
                e,
                e_type="energy",
                true_val=e.tags["total_energy"],
                systems=e.get_systems()[:1],
                coefficients=None,
            )
            for e in entries
        ]

    return _load("h2-curve", arguments, keep)


def load_atomic_total_energy(
    featurizer: Any = "dft",
    splitter: Any = None,
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    basis: Any = None,
) -> Loaded:
    """Load the total energies of the atoms H-Ar.

    The file has no split, so one data set is returned by default. Parameters, returns and errors
    are those of `load_w411`, without ``multireference``.

    References
    ----------
    Chakravorty et al., Phys. Rev. A 47, 3649 (1993).
    """
    return _load("atomic-total-energy", locals())
