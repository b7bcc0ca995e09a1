"""What DeepChem's tutorial on exchange-correlation functionals calls, with only the imports changed.

``examples/tutorials/Training_an_Exchange_Correlation_Functional_using_Deepchem.ipynb`` of DeepChem: its
cells in order, one test each, in one namespace. Quick: in a small basis and on fewer molecules; slow: as
there.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from pyscf import gto

#: Every import of DeepChem's that the tutorial needs of this package.
_THEIRS = re.compile(r"from deepchem\.(?:data\.data_loader|feat\.dft_data|models\.dft\.\w+) import")
FULL = "6-311++G(3df,3pd)"
#: Bohr; DeepChem has twenty of them.
DISTANCES = np.linspace(0.5, 4.0, 20)

DATA = """\
- e_type: ae
  true_val: '0.09194410469'
  systems: [{'moldesc': 'Li 1.5070 0 0; H -1.5070 0 0', 'basis': '%(basis)s'},
            {'moldesc': 'Li 0 0 0', 'basis': '%(basis)s', 'spin': 1},
            {'moldesc': 'H 0 0 0', 'basis': '%(basis)s', 'spin': 1}]
- e_type: ie
  true_val: '0.53411947056'
  systems: [{'moldesc': 'N 0 0 0', 'basis': '%(basis)s', 'spin': '3'},
            {'moldesc': 'N 0 0 0', 'basis': '%(basis)s', 'charge': 1, 'spin': '2'}]
"""
#: H2 at one distance; the sign of the values is opposite to that of the entries' formula there, too.
POINT = """\
- e_type: ae
  true_val: %(value)s
  systems: [{'moldesc': 'H 0 0 0; H 0 0 %(r).4f', 'basis': '%(basis)s'},
            {'moldesc': 'H 0 0 0', 'basis': '%(basis)s', 'spin': '1', 'number': '2'}]
"""

CELLS = {
    "an entry": """
from deepchem.feat.dft_data import DFTEntry
systems = [{"moldesc": "H 0.86625 0 0; F -0.86625 0 0", "basis": BASIS}]
entry = DFTEntry.create("dm", "deepchem/data/tests/dftHF_output.npy", systems)
shown = entry.get_systems()
""",
    "a density matrix": """
from pyscf import cc, gto, scf
import numpy as np
import torch
mol = gto.M(atom=systems[0]["moldesc"], basis=BASIS, unit="Bohr", verbose=0)
mean_field = scf.UHF(mol).run()
ccsd = cc.UCCSD(mean_field)
ccsd.kernel()
parts = [c @ m @ c.T for c, m in zip(mean_field.mo_coeff, ccsd.make_rdm1())]
np.save("output.npy", torch.as_tensor(parts[0] + parts[1], dtype=torch.double))
""",
    "a data set": """
from deepchem.data.data_loader import DFTYamlLoader
dataset = DFTYamlLoader().create_dataset("assets/dft_tutorial.yaml")
""",
    "a network as a functional": """
from deepchem.models.dft.nnxc import NNLDA
import torch.nn as nn
functional = NNLDA(nn.Linear(2, 1), device="cpu")
""",
    "a self-consistent field": """
from deepchem.models.dft.scf import XCNNSCF
from deepchem.feat.dft_data import DFTEntry, DFTSystem
from deepchem.models.dft.nnxc import HybridXC
network = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 1)).to(torch.double)
hybrid = HybridXC("lda_x", network, aweight0=0.0, device="cpu")
run = XCNNSCF(hybrid, entry).run(DFTSystem(systems[0]))
energy = run.energy()
""",
    "training": """
from deepchem.models.dft.dftxc import XCModel
import deepchem as dc
import tempfile
model_dir = tempfile.mkdtemp()
model = XCModel("lda_x", batch_size=1, log_frequency=1, mode="classification", n_tasks=2,
                model_dir=model_dir, device="cpu")
loss = model.fit(dataset, nb_epoch=1, checkpoint_interval=1)
""",
    "a curve": """
h2 = DFTYamlLoader().create_dataset("assets/h2.yaml")
predicted = model.predict(h2)
""",
    "a figure": """
import matplotlib.pyplot as plt
true_values, calculated = h2.y, predicted * (-1)
plt.plot(R, true_values)
plt.plot(R, calculated, color="orange")
plt.xlabel("H-H distance")
plt.show()
""",
}


def with_imports_changed(source: str) -> str:
    return _THEIRS.sub("from deepchem_dft import", source)


def write_files(folder: Path, basis: str, distances: np.ndarray) -> None:
    """Write what the tutorial reads: its own files, and one of DeepChem's checkout that it names."""
    (folder / "assets").mkdir()
    (folder / "assets/dft_tutorial.yaml").write_text(DATA % {"basis": basis})
    points = [POINT % {"r": r, "value": 0.1 * (r - 2.0), "basis": basis} for r in distances]
    (folder / "assets/h2.yaml").write_text("".join(points))
    there = folder / "deepchem/data/tests"
    there.mkdir(parents=True)
    fluoride = gto.M(atom="H 0.86625 0 0; F -0.86625 0 0", basis=basis, unit="Bohr", verbose=0)
    overlap = fluoride.intor("int1e_ovlp")
    np.save(there / "dftHF_output.npy", 10 / len(overlap) * np.linalg.inv(overlap))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("sto-3g", 5), id="small"),
        pytest.param((FULL, 1), marks=pytest.mark.slow, id="full"),
    ],
)
def tutorial(request, tmp_path_factory):
    """The namespace after every cell, by the cell's name."""
    basis, stride = request.param
    folder = tmp_path_factory.mktemp("tutorial")
    r = DISTANCES[::stride]
    write_files(folder, basis, r)
    namespace: dict = {"BASIS": basis, "R": r, "__name__": "__tutorial__"}
    after = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MPLBACKEND", "Agg")
        for name, source in CELLS.items():
            exec(compile(with_imports_changed(source), f"cell '{name}'", "exec"), namespace)
            after[name] = dict(namespace)
    return after


def test_only_imports_are_changed():
    for source in CELLS.values():
        changed = with_imports_changed(source)
        differing = [a for a, b in zip(source.splitlines(), changed.splitlines()) if a != b]
        assert all(line.startswith("from deepchem.") for line in differing)
        assert "from deepchem." not in changed


def test_an_entry_has_its_systems(tutorial):
    (system,) = tutorial["an entry"]["shown"]
    assert list(system.symbols) == ["H", "F"] and system.charge == 0


def test_a_density_matrix_is_one_of_ten_electrons(tutorial):
    found = tutorial["a density matrix"]
    overlap = found["mol"].intor("int1e_ovlp")
    matrix = found["parts"][0] + found["parts"][1]
    assert np.einsum("ij,ji", matrix, overlap) == pytest.approx(10, abs=1e-8)


def test_numbers_that_are_words_are_read(tutorial):
    dataset = tutorial["a data set"]["dataset"]
    assert dataset.y.ravel() == pytest.approx([0.09194410469, 0.53411947056])
    nitrogen, ion = dataset.X[1].get_systems()
    assert (nitrogen.spin, ion.spin, ion.charge) == (3, 2, 1)


def test_the_field_is_that_of_the_conventional_functional(tutorial, request):
    """The network has no weight, so Slater exchange is left: PySCF's energy, and the one DeepChem prints."""
    from pyscf import dft

    found = tutorial["a self-consistent field"]
    field = dft.RKS(found["mol"])
    field.xc, field.conv_tol, field.grids.level = "lda,", 1e-10, 5
    assert found["energy"].item() == pytest.approx(field.kernel(), abs=2e-5)
    assert found["energy"].requires_grad
    if found["BASIS"] == FULL:
        assert found["energy"].item() == pytest.approx(-99.1360, abs=6e-5)


def test_training_ends_with_a_loss_and_a_checkpoint(tutorial):
    found = tutorial["training"]
    assert np.isfinite(found["loss"])
    assert any(Path(found["model_dir"]).iterdir())


def test_predictions_are_atomisation_energies(tutorial):
    """Against fields that are solved one by one."""
    from deepchem_dft import KohnSham, Molecule

    found = tutorial["a figure"]
    values = np.asarray(found["predicted"]).ravel()
    assert values.shape == found["R"].shape
    functional = found["model"].functional
    atom = KohnSham(Molecule("H 0 0 0", found["BASIS"], spin=1), functional).run().energy.item()
    for index in (1, len(values) - 1):
        molecule = Molecule(f"H 0 0 0; H 0 0 {found['R'][index]:.4f}", found["BASIS"])
        energy = KohnSham(molecule, functional).run().energy.item()
        assert values[index] == pytest.approx(2 * atom - energy, abs=1e-5)
