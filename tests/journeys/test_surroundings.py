"""A solvent shift, a field of point charges and dispersion, from the command line."""

import json

import pytest

SMALL = ("--basis", "sto-3g", "--grid-level", "1", "--xc", "pbe")


def energy(outcome) -> float:
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)["return_result"]


def pyscf_field():
    from pyscf import dft, gto

    from .conftest import FILES

    atoms = "\n".join(FILES["water.xyz"].splitlines()[2:])
    field = dft.RKS(gto.M(atom=atoms, basis="sto-3g", verbose=0), xc="pbe")
    field.grids.level, field.conv_tol = 1, 1e-11
    return field


def test_a_solvent_shift(command, files):
    asked = ("scf", "water.xyz", *SMALL, "-q", "--json")
    shift = energy(command(*asked, "--solvent", "water")) - energy(command(*asked))
    field = pyscf_field()
    wet = pyscf_field().SMD()
    wet.with_solvent.solvent = "water"
    assert shift == pytest.approx(wet.run().e_tot - field.run().e_tot, abs=1e-7)
    assert shift * 627.5095 < -3
    told = command("scf", "water.xyz", *SMALL, "--solvent", "water")
    assert "in water (SMD)" in told.out and "solvent" in told.out and "in its surroundings" in told.err


def test_point_charges_and_dispersion(command, files):
    (files / "around.txt").write_text("0.4 0 0 3.0  # e, Angstrom\n")
    asked = ("scf", "water.xyz", *SMALL, "-q", "--json")
    found = energy(command(*asked, "--point-charges", "around.txt", "--dispersion", "d3bj"))
    from pyscf import qmmm

    own = qmmm.mm_charge(pyscf_field(), [(0, 0, 3.0)], [0.4], unit="angstrom").run().e_tot
    added = energy(command(*asked, "--dispersion", "d3bj")) - energy(command(*asked))
    assert found == pytest.approx(own + added, abs=1e-6) and -1e-3 < added < 0


def test_optimised_in_a_solvent(command, files):
    how = ("--solvent", "water", "--solvent-model", "cpcm", *SMALL)
    done = command("optimize", "h2.xyz", *how, "--out", "wet.xyz")
    assert done.status == 0 and "in water (C-PCM)" in done.out, done.err
    outcome = command("frequencies", "wet.xyz", *how, "--json")
    found = json.loads(outcome.out)
    assert outcome.status == 0 and found["surroundings"] == "water (C-PCM)"
    assert "differences of forces" in found["hessian_from"] and len(found["wavenumbers_per_cm"]) == 1


@pytest.mark.parametrize(
    "more, words",
    [
        (("--solvent", "wine"), "no solvent 'wine'"),
        (("--solvent-model", "cpcm"), "add --solvent"),
        (("--solvent", "water", "--engine", "dqc"), "DQC"),
        (("--point-charges", "nowhere.txt"), "does not exist"),
        (("--dispersion", "d5"), "d5"),
    ],
)
def test_what_there_is_not_is_one_line(command, files, more, words):
    outcome = command("scf", "water.xyz", *SMALL, *more)
    assert outcome.status == 1 and words in outcome.err and "Traceback" not in outcome.err
