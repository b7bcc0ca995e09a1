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


def test_a_reaction_in_a_solvent(command, files):
    """Of water, the energy is that of PySCF's SMD."""
    fine = ("--basis", "sto-3g", "--grid-level", "3", "--xc", "pbe", "--jobs", "1", "-q", "--json")
    asked = ("reaction", "water.xyz -> oh.xyz + h.xyz", *fine)
    outcome = command(*asked, "--solvent", "water")
    assert outcome.status == 0, outcome.err
    data = json.loads(outcome.out)
    row = data["reactions"][0]["energies"][0]
    assert data["surroundings"] == "water (SMD)"
    wet = pyscf_field()
    wet.grids.level = 3
    wet = wet.SMD()
    wet.with_solvent.solvent = "water"
    assert row["species_hartree"]["water.xyz"] == pytest.approx(wet.run().e_tot, abs=1e-6)
    dry = json.loads(command(*asked).out)["reactions"][0]["energies"][0]
    assert row["energy_kcal_mol"] - dry["energy_kcal_mol"] > 1  # water is solvated best
    refused = command("reaction", "h2.xyz -> h2_cation.xyz + e-", *SMALL, "--solvent", "water")
    assert refused.status == 1 and "the energy of e- in water (SMD) is not known" in refused.err


def test_curves_and_scans_in_a_solvent(command, files):
    wet = ("--solvent", "water", "--json")
    steps = ("--start", "1.4", "--stop", "1.6", "--points", "2", "--jobs", "1")
    curve = command("curve", "H 0 0 0; H 0 0 {R}", *SMALL, *steps, *wet)
    assert curve.status == 0, curve.err
    data = json.loads(curve.out)
    alone = energy(command("scf", "H 0 0 0; H 0 0 1.4", *SMALL, "-q", *wet))
    assert data["surroundings"] == "water (SMD)"
    assert data["energies_hartree"]["pbe"][0] == pytest.approx(alone, abs=1e-7)
    refused = command("curve", "H 0 0 0; H 0 0 {R}", "--exact", "h2", "--solvent", "water")
    assert refused.status == 1 and "exact curves are those in vacuum" in refused.err
    scan = command(
        "scan", "h2.xyz", "distance 1 2", *SMALL, "--start", "0.7", "--stop", "0.8", "--points", "2", *wet
    )
    assert scan.status == 0, scan.err
    data = json.loads(scan.out)
    point = data["points"][1]
    where = "; ".join("H {} {} {}".format(*row) for row in point["positions_bohr"])
    assert point["energy_hartree"] == pytest.approx(
        energy(command("scf", where, *SMALL, "-q", *wet)), abs=1e-6
    )
    assert data["surroundings"] == "water (SMD)"


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
