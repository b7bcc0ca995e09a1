"""CCSD references: against full CI, written files, cache, and entries that ask for them."""

import pickle

import numpy as np
import pytest
from pyscf import fci, gto, scf

from deepchem_dft.data import DFTEntry, DFTSystem, densities, make_densities, read_yaml
from deepchem_dft.errors import InputError, StorageError

H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"}
HEH = {"moldesc": "He 0 0 0; H 0 0 1.46", "basis": "6-31g", "charge": 1}
H = {"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1}
LI = {"moldesc": "Li 0 0 0", "basis": "6-31g", "spin": 1}
HE = {"moldesc": "He 0 0 0", "basis": "sto-3g"}


def full_ci(system):
    mole = gto.M(
        atom=system["moldesc"],
        basis=system["basis"],
        charge=system.get("charge", 0),
        spin=system.get("spin", 0),
        unit="bohr",
        verbose=0,
    )
    mean_field = scf.RHF(mole).run()
    solver = fci.FCI(mean_field)
    _, vector = solver.kernel()
    matrix = solver.make_rdm1(vector, mean_field.mo_coeff.shape[1], mole.nelec)
    return mean_field.mo_coeff @ matrix @ mean_field.mo_coeff.T


@pytest.mark.parametrize("system", [H2, HEH, H])
def test_ccsd_is_exact_for_two_electrons(system):
    """For one and two electrons CCSD is full CI, and so, almost, is its unrelaxed density."""
    matrix = densities.ccsd_density_matrix(DFTSystem(system))
    assert np.abs(matrix - full_ci(system)).max() < 2e-3
    overlap = DFTSystem(system).to_molecule().overlap.numpy()
    electrons = sum(DFTSystem(system).electrons)
    assert np.sum(matrix * overlap) == pytest.approx(electrons, abs=1e-9)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_open_shells_and_full_shells():
    for system in (LI, HE, {**H2, "spin": 2}):
        item = DFTSystem(system)
        target = densities.reference(item, "dens", 2)
        assert target["weights"] @ target["density"] == pytest.approx(sum(item.electrons), abs=1e-3)
        assert (target["density"] > -1e-9).all()


def test_references_are_cached(monkeypatch):
    system = DFTSystem(H2)
    first = densities.ccsd_density_matrix(system)
    monkeypatch.setattr(densities, "_compute", lambda system: pytest.fail("computed again"))
    np.testing.assert_array_equal(densities.ccsd_density_matrix(system), first)
    with pytest.raises(pytest.fail.Exception):
        densities.ccsd_density_matrix(DFTSystem({**H2, "moldesc": "H 0 0 0; H 0 0 1.41"}))


def test_entries_compute_their_reference_when_asked(monkeypatch):
    calls = []
    real = densities.reference
    monkeypatch.setattr(densities, "reference", lambda *a: calls.append(a) or real(*a))
    matrix, profile = (DFTEntry.create(kind, "CCSD", [H2], grid_level=1) for kind in ("dm", "dens"))
    assert not calls
    fresh = pickle.loads(pickle.dumps(matrix))
    assert matrix.get_true_val().shape == (4, 4)
    assert profile.weights @ profile.density == pytest.approx(2, abs=1e-3)
    assert len(calls) == 2
    assert fresh == matrix and pickle.loads(pickle.dumps(matrix)) == matrix
    assert profile.deviation(__import__("torch").tensor(profile.density)).item() == 0


def test_fractional_electrons_are_refused():
    half = {"moldesc": "Li 0 0 0", "basis": "6-31g", "n_alpha": 1.5, "n_beta": 1}
    with pytest.raises(InputError, match="whole electron"):
        DFTEntry.create("dm", "ccsd", [half])
    with pytest.raises(InputError, match="whole electron"):
        densities.ccsd_density_matrix(DFTSystem(half))


YAML = (
    f"""
- {{e_type: dens, true_val: ccsd, name: 'H2 / profile', systems: [{H2}], grid_level: 1}}
- {{e_type: dm, true_val: ccsd, name: matrix, systems: [{HEH}]}}
- {{e_type: ae, true_val: 0.17, name: ae, systems: [{H2}, {{**H}}, {{**H}}]}}
""".replace("{**H}", str(H))
    .replace("{{", "{")
    .replace("}}", "}")
)


def test_make_densities_for_entries_that_ask(write, tmp_path):
    steps = []
    files = make_densities(write(YAML), tmp_path / "out", progress=lambda *a: steps.append(a))
    assert [f.name for f in files] == ["H2_profile.npz", "matrix.npy"]
    assert steps == [(0, 2, "H2_profile"), (1, 2, "matrix"), (2, 2, "done")]
    profile, matrix = read_yaml(tmp_path / "out" / "densities.yaml")
    asked = read_yaml(write(YAML))
    np.testing.assert_allclose(profile.density, asked[0].density, rtol=1e-12)
    np.testing.assert_allclose(matrix.get_true_val(), asked[1].get_true_val(), atol=1e-14)
    assert profile.get_systems()[0].key == asked[0].get_systems()[0].key
    assert matrix.get_systems()[0].charge == 1
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_make_densities_of_every_system(write, tmp_path):
    files = make_densities(read_yaml(write(YAML)), tmp_path / "out", "dens", grid_level=0)
    assert sorted(f.name for f in files) == ["H.npz", "H2_profile.npz", "matrix.npz"]


def test_make_densities_says_what_is_wrong(write, tmp_path):
    with pytest.raises(InputError, match="no entry asks"):
        make_densities([DFTEntry.create("ie", 0.5, [H])], tmp_path)
    with pytest.raises(InputError, match="unknown kind"):
        make_densities([DFTEntry.create("ie", 0.5, [H])], tmp_path, "rho")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        make_densities([DFTEntry.create("dm", "ccsd", [H])], tmp_path / "file")
    with pytest.raises(InputError, match="no such file"):
        make_densities(tmp_path / "none.yaml", tmp_path)
