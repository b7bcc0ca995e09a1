"""Hamiltonians made here: what is in them, and runs that are stopped anywhere."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pyscf import dft, gto

from deepchem_dft.data.properties import xtb
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.hamiltonian.files.store import HamiltonianFile
from deepchem_dft.runs.hamiltonian import making as hamiltonian_data
from deepchem_dft.runs.hamiltonian.making import SamplingRecipe, make_hamiltonians

QUICK = SamplingRecipe(xc="lda,vwn", basis="sto-3g", grid_level=0)
FRAMES = """2
hydrogen
H 0 0 0
H 0 0 0.74
2
hydrogen
H 0.1 0 0
H 0 0.2 0.9
1
a radical
H 0 0 0
2

He 0 0 0
H 0 0 0.77
3
beryllium hydride
Be 0 0 0
H 0 0 1.3
H 0 0.1 -1.3
"""


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.xyz"
    path.write_text(FRAMES)
    return path


@pytest.fixture
def here(monkeypatch):
    """Let workers be this process: what they do is the same, and starting one takes seconds."""

    def serial(work, items, jobs, lost):
        return map(work, items)

    monkeypatch.setattr(hamiltonian_data, "in_order", serial)


def test_matrices_are_those_of_pyscf(here, frames, tmp_path):
    tally = make_hamiltonians(frames, tmp_path / "out.h5", recipe=replace(QUICK, forces=True))
    assert (tally.total, tally.done, tally.failed) == (5, 5, 2)
    assert tally.problems == {
        "a radical/3": "1 electrons are no closed shell",
        "HHe/4": "3 electrons are no closed shell",
    }
    file = HamiltonianFile(tmp_path / "out.h5")
    assert file.names.tolist() == ["hydrogen/1", "hydrogen/2", "beryllium hydride/5"]
    assert file.settings["problems"] == tally.problems
    mole = gto.M(atom="Be 0 0 0; H 0 0 1.3; H 0 0.1 -1.3", basis="sto-3g", verbose=0)
    field = dft.RKS(mole, xc="lda,vwn")
    field.grids.level = 0
    guess = field.get_fock(dm=field.get_init_guess(key="minao"))
    field.run(conv_tol=1e-12)
    sample = file[2]
    np.testing.assert_allclose(sample.positions, mole.atom_coords(), atol=1e-7)
    np.testing.assert_allclose(sample.hamiltonian, field.get_fock(), atol=2e-6)
    np.testing.assert_allclose(sample.overlap, field.get_ovlp(), atol=1e-7)
    np.testing.assert_allclose(sample.core, field.get_hcore(), atol=1e-6)
    np.testing.assert_allclose(sample.guess, guess, atol=1e-6)
    np.testing.assert_allclose(sample.forces, -field.nuc_grad_method().kernel(), atol=1e-5)
    assert sample.energy == pytest.approx(field.e_tot, abs=1e-7)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_a_charge_makes_other_shells_closed(here, frames, tmp_path):
    make_hamiltonians(frames, tmp_path / "out.h5", recipe=replace(QUICK, charge=1))
    file = HamiltonianFile(tmp_path / "out.h5")
    assert file.names.tolist() == ["HHe/4"] and file[0].charge == 1


def test_charges_of_the_frames_count(here, tmp_path):
    (tmp_path / "ions.xyz").write_text(
        "2\ncharge=1\nHe 0 0 0\nH 0 0 0.77\n2\nmult=3\nH 0 0 0\nH 0 0 2\n2\n\nH 0 0 0\nH 0 0 1\n"
    )
    tally = make_hamiltonians(tmp_path / "ions.xyz", tmp_path / "out.h5", recipe=QUICK)
    file = HamiltonianFile(tmp_path / "out.h5")
    assert [sample.charge for sample in file] == [1, 0]
    assert tally.problems == {"mult=3/2": "2 unpaired electrons: only closed shells are computed"}
    mole = gto.M(atom="He 0 0 0; H 0 0 0.77", basis="sto-3g", charge=1, verbose=0)
    field = dft.RKS(mole, xc="lda,vwn")
    field.grids.level = 0
    assert file[0].energy == pytest.approx(field.kernel(), abs=1e-7)


def test_sampled_geometries_keep_the_charge(here, tmp_path):
    (tmp_path / "ion.xyz").write_text("2\ncharge=1\nHe 0 0 0\nH 0 0 0.77\n")
    recipe = replace(QUICK, sampling="modes", samples=2)
    make_hamiltonians(tmp_path / "ion.xyz", tmp_path / "out.h5", recipe=recipe)
    assert [sample.charge for sample in HamiltonianFile(tmp_path / "out.h5")] == [1, 1]


def test_normal_modes_of_two_temperatures(here, tmp_path):
    (tmp_path / "h2.xyz").write_text("2\n\nH 0 0 0\nH 0 0.1 0.7\n")
    recipe = replace(QUICK, sampling="modes", temperatures=(100.0, 900.0), samples=12, seed=1)
    make_hamiltonians(tmp_path / "h2.xyz", tmp_path / "out.h5", recipe=recipe)
    file = HamiltonianFile(tmp_path / "out.h5")
    assert len(file) == 24 and file.names[11:13].tolist() == ["H2/1/100K/11", "H2/1/900K/0"]
    lengths = np.array([np.linalg.norm(s.positions[0] - s.positions[1]) for s in file])
    assert lengths[12:].std() / lengths[:12].std() == pytest.approx(3, rel=0.6)
    lowest = file.energies.min()
    assert (file.energies - lowest < 0.02).all() and file.energies[:12].std() < 1e-3


@pytest.mark.slow
def test_dynamics_of_smiles(here, tmp_path):
    (tmp_path / "two.smi").write_text("[HH] hydrogen\nO water\n")
    recipe = replace(QUICK, sampling="dynamics", temperatures=(300.0,), samples=3)
    make_hamiltonians(tmp_path / "two.smi", tmp_path / "out.h5", recipe=recipe)
    file = HamiltonianFile(tmp_path / "out.h5")
    assert file.names[[0, 5]].tolist() == ["hydrogen/1/300K/0", "water/2/300K/2"]
    assert file.settings["versions"]["tblite"] == xtb.version()
    ends = [np.linalg.norm(file[i].positions[0] - file[i].positions[1:], axis=1) for i in (3, 4, 5)]
    assert np.ptp(ends, axis=0).min() > 1e-3 and 1.5 < np.mean(ends) < 2.2


class TestStopped:
    """A run that ends after any number of records goes on to the same file."""

    def stop(self, monkeypatch, path, out, recipe, after):
        seen = []

        def progress(tally):
            seen.append(tally.done)
            if len(seen) > after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_hamiltonians(path, out, recipe=recipe, progress=progress)
        assert not out.exists() and out.with_name(out.name + ".part").exists()
        return seen[-1]

    @pytest.mark.parametrize(
        "sampling, after",
        [
            ("none", 0),
            ("none", 2),
            ("none", 5),
            ("modes", 1),
            pytest.param("modes", 0, marks=pytest.mark.slow),
            pytest.param("modes", 4, marks=pytest.mark.slow),
        ],
    )
    def test_anywhere(self, here, monkeypatch, frames, tmp_path, sampling, after):
        recipe = replace(QUICK, sampling=sampling, samples=1)
        if sampling == "modes":
            frames.write_text("".join(FRAMES.splitlines(keepends=True)[:11]))
        out, other = tmp_path / "out.h5", tmp_path / "other.h5"
        done = self.stop(monkeypatch, frames, out, recipe, after)
        tally = make_hamiltonians(frames, out, recipe=recipe, resume=True)
        assert tally.resumed == done and tally.done == tally.total
        make_hamiltonians(frames, other, recipe=recipe)
        one, two = HamiltonianFile(out), HamiltonianFile(other)
        assert one.names.tolist() == two.names.tolist() and one.settings == two.settings
        for a, b in zip(one, two):
            np.testing.assert_array_equal(a.hamiltonian, b.hamiltonian)

    def test_between_the_file_and_the_end(self, here, monkeypatch, frames, tmp_path):
        out, part = tmp_path / "out.h5", tmp_path / "out.h5.part"
        self.stop(monkeypatch, frames, out, QUICK, 5)
        left = part.read_bytes()
        make_hamiltonians(frames, out, recipe=QUICK, resume=True)
        part.write_bytes(left)
        tally = make_hamiltonians(frames, out, recipe=QUICK, resume=True)
        assert (tally.resumed, tally.total, tally.failed) == (5, 5, 2) and not part.exists()

    def test_misuse(self, here, monkeypatch, frames, tmp_path):
        out = tmp_path / "out.h5"
        self.stop(monkeypatch, frames, out, QUICK, 2)
        with pytest.raises(InputError, match="the file exists"):
            make_hamiltonians(frames, out, recipe=QUICK)
        with pytest.raises(InputError, match="begun with 'sto-3g'"):
            make_hamiltonians(frames, out, recipe=replace(QUICK, basis="6-31g"), resume=True)
        make_hamiltonians(frames, out, recipe=QUICK, resume=True)
        with pytest.raises(InputError, match="the file exists"):
            make_hamiltonians(frames, out, recipe=QUICK)
        with pytest.raises(InputError, match="begun with 0 and not 1") as caught:
            make_hamiltonians(frames, out, recipe=replace(QUICK, seed=1), resume=True)
        assert caught.value.field == "seed"


@pytest.mark.parametrize(
    "options, field",
    [
        ({"xc": "no-such"}, "xc"),
        ({"xc": "wb97x-v"}, "xc"),
        ({"sampling": "random"}, "sampling"),
        ({"sampling": "modes", "temperatures": ()}, "temperature"),
        ({"sampling": "modes", "temperatures": (0.0,)}, "temperature"),
    ],
)
def test_a_recipe_that_cannot_be(options, field):
    with pytest.raises(InputError) as caught:
        SamplingRecipe(**options)
    assert caught.value.field == field
    assert isinstance(caught.value, FunctionalError) == (field == "xc")


@pytest.mark.parametrize(
    "text, recipe, problem",
    [
        (FRAMES, replace(QUICK, basis="cc-pv5z"), "beyond f"),
        (FRAMES, replace(QUICK, basis="no-such"), "unknown basis"),
        ("1\n\nXx 0 0 0\n", QUICK, "unknown element"),
        ("2\n\nH 0 0 0\n", QUICK, "cut off"),
        ("1\n\nH 0 0 0\n", QUICK, "no geometry could be done; the first: 1 electrons"),
        ("2\n\nH 0 0 0\nH 0 0 5.0\n", replace(QUICK, sampling="modes", charge=2), "0 electrons"),
    ],
)
def test_bad_input(here, tmp_path, text, recipe, problem):
    (tmp_path / "in.xyz").write_text(text)
    with pytest.raises(InputError, match=problem):
        make_hamiltonians(tmp_path / "in.xyz", tmp_path / "out.h5", recipe=recipe)
    assert not (tmp_path / "out.h5").exists()


def test_what_fails_is_a_problem_of_its_geometry(here, monkeypatch, frames, tmp_path):
    whole = hamiltonian_data.Reference.solve

    def solve(self, *args, **options):
        if len(self.sample.numbers) == 3:
            raise RuntimeError("singular matrix")
        return whole(self, *args, **options)

    monkeypatch.setattr(hamiltonian_data.Reference, "solve", solve)
    tally = make_hamiltonians(frames, tmp_path / "out.h5", recipe=QUICK)
    assert tally.problems["beryllium hydride/5"] == "RuntimeError: singular matrix"
    assert len(HamiltonianFile(tmp_path / "out.h5")) == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_with_nothing_lost_or_doubled(frames, tmp_path):
    """SIGKILL after three geometries of real workers."""
    out, other = tmp_path / "out.h5", tmp_path / "other.h5"
    code = (
        "import os, signal, sys\n"
        "from deepchem_dft.runs.hamiltonian.making import SamplingRecipe, make_hamiltonians\n"
        "def show(tally):\n"
        "    if tally.done == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    make_hamiltonians(sys.argv[1], sys.argv[2], jobs=2, progress=show,\n"
        "                      recipe=SamplingRecipe(xc='lda,vwn', basis='sto-3g', grid_level=0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, frames, out], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    tally = make_hamiltonians(frames, out, jobs=2, resume=True, recipe=QUICK)
    assert (tally.resumed, tally.done) == (3, 5)
    make_hamiltonians(frames, other, recipe=QUICK)
    one, two = HamiltonianFile(out), HamiltonianFile(other)
    assert one.names.tolist() == two.names.tolist()
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a.hamiltonian, b.hamiltonian)
