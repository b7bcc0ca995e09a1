"""Numbers that the shipped models gave when they were shipped; ``python -m tests.zoo.pins``.

That command, in the root of the project, prints ``pins.json`` anew. A change of a number there is a
change of what users compute: it belongs into the changelog, with its reason.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("pins.json")
#: Bohr, unpaired electrons; in sto-3g with grid level 0.
MOLECULES = {
    "H": ("H 0 0 0", 1),
    "H2O": ("O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867", 0),
    "NH": ("N 0 0 0; H 0 0 1.96", 2),
}
SMILES = ("CO", "N#Cc1ccc(N)cc1", "O=C1C=CC(=O)C=C1")
#: A water molecule of no data set, Bohr.
WATER = ((0.05, 0.0, 0.2217), (0.0, 1.5009, -0.8867), (0.0, -1.4309, -0.9067))


def self_consistent(name: str, molecule: str) -> Any:
    """Return the solution of a small molecule with a functional."""
    from deepchem_dft import KohnSham, Molecule, zoo

    geometry, spin = MOLECULES[molecule]
    system = Molecule(geometry, "sto-3g", spin=spin, grid_level=0)
    return KohnSham(system, zoo.functional(name), tol=1e-8, two_grid=False).run()


def ksr(name: str) -> dict[str, list[float]]:
    """Return energies (Ha) and, at three points, densities (1/Bohr) after 40 iterations."""
    from deepchem_dft import zoo
    from deepchem_dft.lattice.systems import h2, h2_plus, h4

    systems = {"H2+ 2.48": h2_plus(2.48), "H2 1.52": h2(1.52), "H2 6.0": h2(6.0), "H4 2.0": h4(2.0)}
    found = zoo.load(name).trajectory(list(systems.values()), iterations=40)
    return {
        key: [energy, *density[[240, 256, 290]].tolist()]
        for key, energy, density in zip(systems, found.energies[:, -1].tolist(), found.density)
    }


def hamiltonian(name: str) -> dict[str, list[float]]:
    """Return orbital energies (Ha), the total energy (Ha) and the dipole moment (e Bohr)."""
    from deepchem_dft import zoo
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    sample = HamiltonianSample([8, 1, 1], WATER, "def2-svp", xc="pbe", name="water")
    (found,) = zoo.load(name).predict_properties([sample])
    return {
        "orbital energies": found.orbital_energies.tolist(),
        "energy": [found.energy],
        "dipole": found.dipole.tolist(),
    }


def deq(name: str) -> dict[str, list[float]]:
    """Return dipole moments (Debye) and gaps (eV)."""
    import deepchem as dc

    from deepchem_dft import zoo

    graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(SMILES)
    found = zoo.load(name).predict(dc.data.NumpyDataset(graphs)).reshape(-1, 2)
    return dict(zip(SMILES, found.tolist()))


def predictions(name: str, kind: str) -> dict[str, Any]:
    """Return what is pinned of a model."""
    if kind == "functional":
        return {m: [self_consistent(name, m).energy.item()] for m in MOLECULES}
    return {"ksr": ksr, "hamiltonian": hamiltonian, "deq": deq}[kind](name)


def main() -> None:
    """Print all pins."""
    import torch

    from deepchem_dft import zoo
    from deepchem_dft.zoo.registry import SHIPPED

    torch.set_num_threads(1)
    found = {
        "command": "python -m tests.zoo.pins",
        "versions": {p: metadata.version(p) for p in ("torch", "pyscf", "numpy", "deepchem")},
        **{n: predictions(n, zoo.card(n, SHIPPED).kind) for n in zoo.names(SHIPPED)},
    }
    rows = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    print("{\n" + ",\n".join(rows) + "\n}")


if __name__ == "__main__":
    main()
