"""Targets from files: shapes, orders and electron numbers are checked, arrays are used whole."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from pyscf import gto, scf

from deepchem_dft.data import DFTEntry, DFTSystem, check, read_yaml, targets
from deepchem_dft.data.ao_order import dqc_transform
from deepchem_dft.errors import InputError

LIH = {"moldesc": "Li 0 0 0; H 0 0 3.0", "basis": "6-31G"}


def hartree_fock(system):
    """Return PySCF's own density matrix of a system, built without this package."""
    mole = gto.M(atom=system["moldesc"], basis=system["basis"], unit="bohr", verbose=0)
    return mole, scf.RHF(mole).run().make_rdm1()


@pytest.fixture(scope="module")
def lih():
    return hartree_fock(LIH)


def quadrature(mole, matrix, level=1):
    from pyscf import dft

    grids = dft.gen_grid.Grids(mole)
    grids.level = level
    grids.build()
    density = dft.numint.eval_rho(mole, dft.numint.eval_ao(mole, grids.coords), matrix)
    return {"points": grids.coords, "weights": grids.weights, "density": density}


def test_density_matrix_is_read_whole(lih, tmp_path):
    _, matrix = lih
    np.save(tmp_path / "dm.npy", matrix)
    entry = DFTEntry.create("dm", "dm.npy", [LIH], folder=tmp_path)
    np.testing.assert_allclose(entry.get_true_val(), matrix, atol=1e-12)
    assert entry.get_true_val().dtype == np.float64


def test_paths_start_beside_the_yaml_file_then_in_the_working_folder(lih, write, tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    np.save(folder / "dm.npy", lih[1])
    text = f"- {{e_type: dm, true_val: WHERE, systems: [{LIH}]}}".replace("'", "")
    path = write(text.replace("WHERE", "elsewhere/dm.npy"))
    assert read_yaml(path)[0].get_true_val().shape == (11, 11)
    path = write(text.replace("WHERE", "dm.npy"))
    assert "no file 'dm.npy'" in str(check(path)[0])
    monkeypatch.chdir(folder)
    assert read_yaml(path)[0].get_true_val().shape == (11, 11)


def test_dqcs_order_of_shells(lih):
    # basis file of Li in 6-31G: S, SP, SP; of H: S, S. PySCF: S S S P P | S S
    order = dqc_transform(DFTSystem(LIH)).argmax(axis=1)
    assert order.tolist() == [0, 1, 5, 2, 3, 4, 6, 7, 8, 9, 10]
    mole, matrix = lih
    scrambled = np.empty_like(matrix)
    scrambled[np.ix_(order, order)] = matrix
    entry = DFTEntry.create("dm", scrambled, [LIH], ao_order="dqc")
    np.testing.assert_allclose(entry.get_true_val(), matrix, atol=1e-12)
    with pytest.raises(InputError, match="trace") as caught:
        DFTEntry.create("dm", scrambled, [LIH])
    assert "ao_order: dqc" in caught.value.remedy
    with pytest.raises(InputError, match="trace") as caught:
        DFTEntry.create("dm", matrix, [LIH], ao_order="dqc")
    assert "ao_order: pyscf" in caught.value.remedy


def test_dqcs_functions_of_generally_contracted_sets():
    """PySCF's cc-pVDZ leaves out primitives that the file of DQC has; densities must not care."""
    import basis_set_exchange as bse

    system = {"moldesc": "O 0 0 0; H 0 1.4 1.1; H 0 -1.4 1.1", "basis": "cc-pvdz"}
    whole = {
        symbol: gto.basis.parse(bse.get_basis("cc-pvdz", symbol, fmt="nwchem"), optimize=False)
        for symbol in "OH"
    }
    theirs = gto.M(atom=system["moldesc"], basis=whole, unit="bohr", verbose=0)
    ours = DFTSystem(system).to_molecule().pyscf_mol
    transform = dqc_transform(DFTSystem(system))
    overlap = transform.T @ ours.intor("int1e_ovlp") @ transform
    # The file lists S before P before D, so the order is PySCF's and only the functions differ.
    np.testing.assert_allclose(overlap, theirs.intor("int1e_ovlp"), atol=1e-8)
    assert np.abs(ours.intor("int1e_ovlp") - theirs.intor("int1e_ovlp")).max() > 0.1
    matrix = scf.RHF(theirs).run().make_rdm1()
    entry = DFTEntry.create("dm", matrix, [system], ao_order="dqc")
    points = np.random.default_rng(1).normal(size=(20, 3))
    expected = np.einsum(
        "gi,ij,gj->g",
        *([theirs.eval_gto("GTOval_sph", points), matrix, theirs.eval_gto("GTOval_sph", points)]),
    )
    orbitals = ours.eval_gto("GTOval_sph", points)
    found = np.einsum("gi,ij,gj->g", orbitals, entry.get_true_val(), orbitals)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_dqcs_order_is_refused_where_it_is_not_known():
    iodine = DFTSystem({"moldesc": "I 0 0 0", "basis": "def2-svp", "spin": 1})
    with pytest.raises(InputError, match="core potentials"):
        dqc_transform(iodine)


def bad_matrices(matrix, mole):
    yield "shape", matrix[:-1, :-1], "needs (11, 11)"
    yield "vector", matrix.ravel(), "needs (11, 11)"
    yield "two spins", np.stack([matrix, matrix]) / 2, "needs (11, 11)"
    yield "trace", matrix * 1.01, "trace(D S) = 4.04"
    yield "half", matrix / 2, "4 electrons"
    yield "nan", np.where(matrix > 1, np.nan, matrix), "not finite"
    yield "complex", matrix.astype(complex), "complex128"
    yield "text", np.full((11, 11), "a"), "<U1"
    twisted = matrix.copy()
    overlap = mole.intor("int1e_ovlp")
    twisted[0, 10] += 0.1
    twisted[10, 0] -= 0.1
    assert abs(np.sum(twisted * overlap) - 4) < 1e-9
    yield "asymmetric", twisted, "not symmetric"


def test_wrong_matrices(lih, write, tmp_path):
    mole, matrix = lih
    path = write(f"- {{e_type: dm, name: lih, true_val: dm.npy, systems: [{LIH}]}}".replace("'", ""))
    for case, wrong, problem in bad_matrices(matrix, mole):
        np.save(tmp_path / "dm.npy", wrong)
        (error,) = check(path)
        assert problem in error.problem, (case, str(error))
        assert (error.file, error.entry, error.field) == (path, "1 (lih)", "true_val")
        assert error.remedy
        if case == "two spins":
            assert "add the two spins" in error.remedy


def test_tolerance(lih):
    _, matrix = lih
    with pytest.raises(InputError, match="trace"):
        DFTEntry.create("dm", matrix * 1.001, [LIH])
    DFTEntry.create("dm", matrix * 1.001, [LIH], tolerance=0.01)
    DFTEntry.create("dm", matrix * 1.0001, [LIH])  # 4e-4 electrons
    with pytest.raises(InputError, match="trace"):
        DFTEntry.create("dm", matrix * 1.0001, [LIH], tolerance=1e-4)
    with pytest.raises(InputError, match="not positive"):
        DFTEntry.create("dm", matrix, [LIH], tolerance=0)


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00", b"PK\x03\x04 broken"])
def test_damaged_files(tmp_path, content):
    for name, kind in (("a.npy", "dm"), ("a.npz", "dens")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            DFTEntry.create(kind, name, [LIH], folder=tmp_path)
        assert caught.value.field == "true_val" and caught.value.remedy


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        DFTEntry.create("dm", "a.npy", [LIH], folder=tmp_path)


def test_density(lih, tmp_path):
    grid = quadrature(*lih)
    np.savez(tmp_path / "n.npz", **grid)
    entry = DFTEntry.create("dens", "n.npz", [LIH], folder=tmp_path)
    for key in grid:
        np.testing.assert_array_equal(getattr(entry, key), grid[key])
    np.testing.assert_array_equal(entry.get_true_val(), grid["density"])
    assert entry.weights @ entry.density == pytest.approx(4, abs=1e-3)


def test_wrong_densities(lih, tmp_path):
    grid = quadrature(*lih)
    for change, problem in (
        ({"density": None}, "lacks density"),
        ({"weights": None}, "lacks weights"),
        ({"points": grid["points"].T}, "do not fit"),
        ({"density": grid["density"][:-1]}, "do not fit"),
        ({"density": grid["density"] * 2}, "integrates to 7.99"),
        ({"density": np.full(len(grid["density"]), np.inf)}, "not finite"),
        ({key: np.zeros((0, 3) if key == "points" else 0) for key in grid}, "do not fit"),
    ):
        content = {k: v for k, v in {**grid, **change}.items() if v is not None}
        np.savez(tmp_path / "n.npz", **content)
        with pytest.raises(InputError) as caught:
            DFTEntry.create("dens", "n.npz", [LIH], folder=tmp_path)
        assert problem in caught.value.problem and caught.value.field == "true_val"
    DFTEntry.create("dens", {**grid, "density": grid["density"] * 1.01}, [LIH], tolerance=0.1)


@pytest.mark.parametrize("kind", ["dm", "dens"])
def test_a_density_that_may_be_turned_is_warned_about_once(write, kind):
    """Partly filled p and d shells have a direction; s shells and half-filled ones do not."""
    atoms = {
        "B": 1,
        "C": 2,
        "O": 2,
        "F": 1,
        "Ti": 2,
        "Ni": 2,
        "Nb": 5,
        "W": 4,  # to be named
        "H": 1,
        "He": 0,
        "Li": 1,
        "N": 3,
        "Ne": 0,
        "P": 3,
        "Cr": 6,
        "Mn": 5,
        "Cu": 1,
        "Zn": 0,
        "Mo": 6,
        "Pd": 0,
        "Sb": 3,
    }
    text = "".join(
        f"- {{name: {a}, e_type: {kind}, true_val: ccsd,"
        f" systems: [{{moldesc: {a} 0 0 0, basis: def2-svp, spin: {s}}}]}}\n"
        for a, s in atoms.items()
    )
    with pytest.warns(UserWarning, match="may point anywhere") as caught:
        read_yaml(write(text))
    (message,) = [str(w.message) for w in caught if "point anywhere" in str(w.message)]
    assert "(B, C, O, F, Ti and 3 more)" in message and "explicit occupations" in message


def test_a_round_target_needs_no_warning(write, tmp_path):
    third = "0.3333333333333333"
    system = (
        "{moldesc: B 0 0 0, basis: 6-31g, occupations:"
        f" {{alpha: [1, 1, {third}, {third}, {third}], beta: [1, 1]}}}}"
    )
    matrix = DFTSystem({"moldesc": "B 0 0 0", "basis": "6-31g", "spin": 1}).to_molecule().overlap
    np.save(tmp_path / "dm.npy", np.linalg.inv(matrix.numpy()) * 5 / 9)
    even = write(f"- {{e_type: dm, true_val: dm.npy, systems: [{system}]}}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_yaml(even)
    oriented = write("- {e_type: dm, true_val: dm.npy, systems: [{moldesc: B 0 0 0, basis: 6-31g, spin: 1}]}")
    with pytest.warns(UserWarning, match="may point anywhere"):
        read_yaml(oriented)


def test_the_provider_of_a_grid_is_found_by_name(tmp_path, write):
    """In a fresh process, where nobody has imported it; with DQC made invisible."""
    np.save(tmp_path / "n.npy", np.ones(10))
    path = write(
        "- {e_type: dens, true_val: n.npy, grid: dqc, systems: [{moldesc: He 0 0 0, basis: sto-3g}]}\n"
    )
    code = f"""
import importlib.util, sys
usual = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n == "dqc" else usual(n, *a)
from deepchem_dft.data import check
assert "deepchem_dft.interop.dqc" not in sys.modules
print(check({path!r})[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "DQC's grid is not available: dqc is not installed" in done.stdout
    assert "Remedy: run 'deepchem-dft install-dqc'" in done.stdout


def test_bare_density_needs_its_grid(lih, tmp_path, monkeypatch):
    grid = quadrature(*lih)
    np.save(tmp_path / "n.npy", grid["density"])
    with pytest.raises(InputError, match="without points") as caught:
        DFTEntry.create("dens", "n.npy", [LIH], folder=tmp_path)
    assert "grid: dqc" in caught.value.remedy and ".npz" in caught.value.remedy
    monkeypatch.setattr(targets, "GRIDS", {})
    monkeypatch.setattr(targets, "_PROVIDERS", {})
    with pytest.raises(InputError, match="not available") as caught:
        DFTEntry.create("dens", "n.npy", [LIH], folder=tmp_path, grid="dqc")
    assert caught.value.field == "grid"
    monkeypatch.setattr(targets, "GRIDS", {"dqc": lambda s: (grid["points"], grid["weights"])})
    entry = DFTEntry.create("dens", "n.npy", [LIH], folder=tmp_path, grid="dqc")
    np.testing.assert_array_equal(entry.points, grid["points"])
    np.save(tmp_path / "n.npy", grid["density"][:-5])
    with pytest.raises(InputError, match="points"):
        DFTEntry.create("dens", "n.npy", [LIH], folder=tmp_path, grid="dqc")
