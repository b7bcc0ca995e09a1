"""``deepchem-dft data hamiltonian``: what a user sees."""

import pytest

from deepchem_dft.hamiltonian.files.store import HamiltonianFile
from deepchem_dft.runs.hamiltonian import making as hamiltonian_data

OPTIONS = ("--xc", "lda,vwn", "--basis", "sto-3g", "--grid-level", 0)


@pytest.fixture
def frames(tmp_path, monkeypatch):
    monkeypatch.setattr(hamiltonian_data, "in_order", lambda work, items, jobs, lost: map(work, items))
    path = tmp_path / "frames.xyz"
    path.write_text("2\none\nH 0 0 0\nH 0 0 0.74\n1\ntwo\nH 0 0 0\n2\nthree\nH 0 0 0\nH 0 0 0.8\n")
    return path


def test_what_is_made_and_said(command, frames, tmp_path):
    out = tmp_path / "out.h5"
    outcome = command("data", "hamiltonian", frames, "--out", out, *OPTIONS)
    assert outcome.status == 0
    assert outcome.out == f"{out}: 2 of 3 Hamiltonians\n"
    lines = outcome.err.splitlines()
    assert lines[0] == "computed 0/3 Hamiltonians, 0 failed"
    assert lines[-2] == "computed 3/3 Hamiltonians, 1 failed"
    assert lines[-1] == "left out: two/2: 1 electrons are no closed shell"
    assert HamiltonianFile(out).xc == "lda,vwn"
    again = command("data", "hamiltonian", frames, "--out", out, *OPTIONS, "--resume", "-q")
    assert again.status == 0 and "3 were there already" in again.out


def test_sampling(command, frames, tmp_path):
    frames.write_text("2\nH2\nH 0 0 0\nH 0 0 0.74\n")
    given = "--sampling modes --temperature 300 --temperature 500 --samples 2 --seed 3"
    outcome = command("data", "hamiltonian", frames, "--out", tmp_path / "out.h5", *OPTIONS, "-q", given)
    assert outcome.status == 0, outcome.err
    assert HamiltonianFile(tmp_path / "out.h5").names.tolist() == [
        "H2/1/300K/0",
        "H2/1/300K/1",
        "H2/1/500K/0",
        "H2/1/500K/1",
    ]


def test_ctrl_c_says_how_to_go_on(command, frames, tmp_path, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(hamiltonian_data, "in_order", stopped)
    outcome = command("data", "hamiltonian", frames, "--out", tmp_path / "out.h5", *OPTIONS)
    assert outcome.status == 130 and "the same command with --resume goes on" in outcome.err


@pytest.mark.parametrize(
    "words, problem",
    [
        (("--xc", "pbee"), "field 'xc'"),
        (("--basis", "def2-svpp"), "field 'basis'"),
        (("--sampling", "md"), "field 'sampling'"),
        (("--xc", "b2plyp"), "field 'xc'"),
    ],
)
def test_bad_options_are_one_line(command, frames, tmp_path, words, problem):
    outcome = command("data", "hamiltonian", frames, "--out", tmp_path / "out.h5", *words)
    assert outcome.status == 1 and problem in outcome.err and "Traceback" not in outcome.err


def test_an_output_that_cannot_be(command, frames, tmp_path):
    outcome = command("data", "hamiltonian", frames, "--out", tmp_path / "no" / "out.h5")
    assert outcome.status == 1 and "the folder does not exist" in outcome.err
