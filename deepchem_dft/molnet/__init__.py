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

`load_gscdb138` is the Gold-Standard Chemical Database 138: 5,478 reactions with published values of sixteen
functionals, which `board` gives.

`load_nci` (GFN2-xTB labels of 2,010 molecules), `load_labelled`, `load_qmugs`, `load_qmof` and
`load_oqmd` are for properties of molecules and crystals: labels that you computed or downloaded, in
classes or as numbers, with the features, splits and transformers of your choice.
`load_md17_hamiltonian`, `load_qh9` and `load_hamiltonian` are for Kohn-Sham matrices.

`load_ksr` makes exact energies and densities of one-dimensional molecules, for `KSRModel`.

`load_xcnn` counts ``dataset="dataset1"`` without its 15 densities. The data files and their
caveats are described in ``datasets/README.md``.
"""

import lazy_loader

from deepchem_dft.needs import check_deepchem

check_deepchem()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
