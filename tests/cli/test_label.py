"""``deepchem-dft data label``: what a user sees."""

import io

import pytest

from deepchem_dft.data.properties.label_file import read_labels


@pytest.fixture
def molecules(tmp_path):
    path = tmp_path / "molecules.smi"
    path.write_text("O water\n[Na+] sodium\nC methane\n")
    return path


def test_labels_and_what_is_said(command, molecules, tmp_path):
    out = tmp_path / "labels.csv"
    outcome = command("data", "label", molecules, "--out", out, "--conformers", "1")
    assert outcome.status == 0
    assert outcome.out == (f"{out}: 2 of 3 molecules labelled, 1 could not be (see the column 'problem')\n")
    lines = outcome.err.splitlines()
    assert lines[0] == "labelled 0/3 molecules, 0 failed"
    assert lines[-1] == "labelled 3/3 molecules, 1 failed"
    rows = {row.name: row for _, row in read_labels(out)}
    assert rows["water"].dipole == pytest.approx(2.2, abs=0.2)  # experiment: 1.85 Debye
    assert rows["methane"].dipole == pytest.approx(0, abs=0.01)
    assert "charge +1" in rows["sodium"].problem


def test_resume_and_its_misuse(command, molecules, tmp_path):
    out = tmp_path / "labels.csv"
    words = ["data", "label", molecules, "--out", out, "--conformers", 1, "--quiet"]
    assert command(*words, "--resume").status == 0
    whole = out.read_bytes()
    out.write_bytes(whole[:-10])
    outcome = command(*words)
    assert outcome.status == 1 and "the file exists" in outcome.err and "--resume" in outcome.err
    outcome = command(*words, "--resume", "--seed", "4")
    assert outcome.status == 1 and "field 'seed'" in outcome.err
    outcome = command(*words, "--resume")
    assert (outcome.status, outcome.err) == (0, "")
    assert "2 were there already" in outcome.out
    assert out.read_bytes() == whole


def test_ctrl_c_says_how_to_go_on(command, molecules, tmp_path, monkeypatch):
    from deepchem_dft.data.properties import labelling

    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(labelling, "in_order", stopped)
    outcome = command("data", "label", molecules, "--out", tmp_path / "labels.csv")
    assert outcome.status == 130 and "the same command with --resume goes on" in outcome.err
    monkeypatch.undo()
    assert (
        command(
            "data", "label", molecules, "--out", tmp_path / "labels.csv", "--resume", "--conformers", "10"
        ).status
        == 0
    )


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("C\n", "molecules.txt", "not read from .txt files"),
        ("", "molecules.smi", "holds no molecule"),
        ("\n\n\n  2  1\n", "molecules.sdf", "entry 1, field 'M  END': the record is cut off"),
        (None, "molecules.smi", "the file does not exist"),
    ],
)
def test_bad_input_is_one_line(command, tmp_path, content, name, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    outcome = command("data", "label", tmp_path / name, "--out", tmp_path / "labels.csv")
    assert outcome.status == 1 and message in outcome.err
    assert name in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "labels.csv").exists()


def test_an_output_that_cannot_be(command, molecules, tmp_path):
    assert "this is a folder" in command("data", "label", molecules, "--out", tmp_path).err
    outcome = command("data", "label", molecules, "--out", tmp_path / "no" / "labels.csv")
    assert outcome.status == 1 and "the folder does not exist" in outcome.err


def test_a_bar_on_a_terminal(monkeypatch):
    from rich.console import Console

    from deepchem_dft.cli import label
    from deepchem_dft.parallel.pool import JobCount

    screen = io.StringIO()
    monkeypatch.setattr(label, "console", lambda stderr: Console(file=screen, force_terminal=True, width=100))
    with label.tally_progress(quiet=False) as show:
        show(JobCount(total=7))
        show(JobCount(total=7, done=5, failed=2))
    assert "5/7" in screen.getvalue() and "2 failed" in screen.getvalue()
