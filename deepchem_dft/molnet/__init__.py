"""The package's data sets in MoleculeNet's form, offline.

Each function returns ``(tasks, datasets, transformers)``: one task, ``(train, valid, test)`` or,
with ``splitter=None``, ``(all,)``. Entries of densities and energies have no transformers, since
values must stay in Hartree:

==============================  ====================================  ====  ==================
function                        quantity                              N     train/valid/test
==============================  ====================================  ====  ==================
`load_w411`                     atomisation energies, W4-11           114   31 / 13 / 70
`load_xcnn`                     data of Kasim and Vinko (2021)        133   6 / 6 / 121
`load_atomic_ip`                ionisation energies H-Ar              18    2 / 2 / 14
`load_atomic_ea`                electron affinities H-Cl              12    1 / 1 / 10
`load_molecular_ip`             adiabatic ionisation energies, G21IP  16    2 / 2 / 12
`load_molecular_vip`            vertical ionisation energies          86    2 / 4 / 80
`load_barriers`                 barrier heights, BH76                 22    11 / 6 / 5
`load_h2_curve`                 exact dissociation curve of H2        36    no split
`load_atomic_total_energy`      exact total energies H-Ar             18    no split
==============================  ====================================  ====  ==================

`load_nci` (GFN2-xTB labels of 2,010 molecules), `load_labelled`, `load_qmugs`, `load_qmof` and
`load_oqmd` are for properties of molecules and crystals: labels that you computed or downloaded, in
classes or as numbers, with the features, splits and transformers of your choice.
`load_md17_hamiltonian`, `load_qh9` and `load_hamiltonian` are for Kohn-Sham matrices.

`load_ksr` makes exact energies and densities of one-dimensional molecules, for `KSRModel`.

`load_xcnn` counts ``dataset="dataset1"`` without its 15 densities. The data files and their
caveats are described in ``datasets/README.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepchem_dft.needs import check_deepchem

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from deepchem_dft.molnet.hamiltonians import (
        load_hamiltonian,
        load_md17_hamiltonian,
        load_qh9,
    )
    from deepchem_dft.molnet.ksr import load_ksr
    from deepchem_dft.molnet.labelled import load_labelled, load_nci
    from deepchem_dft.molnet.location import datasets_dir
    from deepchem_dft.molnet.properties import load_oqmd, load_qmof, load_qmugs
    from deepchem_dft.molnet.sets import (
        load_atomic_ea,
        load_atomic_ip,
        load_atomic_total_energy,
        load_barriers,
        load_h2_curve,
        load_molecular_ip,
        load_molecular_vip,
        load_w411,
        load_xcnn,
    )
    from deepchem_dft.molnet.splitter import PublishedSplitter

# DeepChem takes seconds to import; those who only look for the data files need not wait for it.
_MODULES = {"datasets_dir": "location", "PublishedSplitter": "splitter", "load_nci": "labelled",
            "load_labelled": "labelled", "load_oqmd": "properties", "load_qmof": "properties",
            "load_qmugs": "properties", "load_hamiltonian": "hamiltonians",
            "load_md17_hamiltonian": "hamiltonians", "load_qh9": "hamiltonians", "load_ksr": "ksr"}

__all__ = [
    "PublishedSplitter",
    "datasets_dir",
    "load_atomic_ea",
    "load_atomic_ip",
    "load_atomic_total_energy",
    "load_barriers",
    "load_h2_curve",
    "load_hamiltonian",
    "load_ksr",
    "load_labelled",
    "load_md17_hamiltonian",
    "load_molecular_ip",
    "load_molecular_vip",
    "load_nci",
    "load_oqmd",
    "load_qh9",
    "load_qmof",
    "load_qmugs",
    "load_w411",
    "load_xcnn",
]

check_deepchem()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'sets')}"), name)
    globals()[name] = value  # later look-ups skip this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
