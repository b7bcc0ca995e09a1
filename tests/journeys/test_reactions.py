"""Reactions and atomisations of one's own files, with the uncertainty of the difference."""

import json
import math
import re

import numpy as np
import pytest

from .conftest import FILES

HARTREE_TO_KCAL = 627.5094740631
SMALL = ("--basis", "sto-3g", "--grid-level", "1", "--jobs", "1", "-q")


def pyscf_field(name: str, spin: int, xc: str):
    """A converged field of PySCF alone, on the same grid."""
    from pyscf import dft, gto

    atoms = "\n".join(FILES[name].splitlines()[2:])
    charge = 1 if "charge=1" in FILES[name] else 0
    mol = gto.M(atom=atoms, basis="sto-3g", unit="Angstrom", spin=spin, charge=charge, verbose=0)
    field = (dft.UKS if spin else dft.RKS)(mol, xc=xc)
    field.grids.level, field.conv_tol = 1, 1e-11
    field.kernel()
    return field


def test_reaction_of_files(command, files):
    outcome = command("reaction", "water.xyz -> oh.xyz + h.xyz", "--xc", "pbe", "--xc", "lda,pw", *SMALL)
    assert outcome.status == 0, outcome.err
    for xc in ("pbe", "lda,pw"):
        water, oh, h = (
            pyscf_field(n, s, xc).e_tot for n, s in (("water.xyz", 0), ("oh.xyz", 1), ("h.xyz", 1))
        )
        row = next(line for line in outcome.out.splitlines() if f"| {xc:>10} |" in line)
        left, right, energy = map(float, row.split("|")[3:6])
        assert left == pytest.approx(water * HARTREE_TO_KCAL, abs=0.01)
        assert right == pytest.approx((oh + h) * HARTREE_TO_KCAL, abs=0.02)
        assert energy == pytest.approx((oh + h - water) * HARTREE_TO_KCAL, abs=0.02)
    assert "H2O -> HO + H" in outcome.out and "kcal/mol" in outcome.out
    # the atom's spin is in no file, and is that of the ground state
    assert re.search(r"h\.xyz .* 2 \(assumed\)", outcome.out)
    assert re.search(r"oh\.xyz .* \+0 \| +2 \|", outcome.out)


def test_uncertainty_is_that_of_the_difference(command, files):
    """Two members, whose energies at the mean functional's density PySCF computes as well."""
    from deepchem_dft import zoo
    from deepchem_dft.xc.ensemble import EnsembleXC

    zoo.save(EnsembleXC(["pbe", "blyp"], calibration=1.5, floor=0.001), "two.safetensors")
    outcome = command("reaction", "h2.xyz -> 2 h.xyz", "--xc", "two.safetensors", *SMALL, "--json")
    assert outcome.status == 0, outcome.err
    row = json.loads(outcome.out)["reactions"][0]["energies"][0]
    members = []
    mean = {name: pyscf_field(name, spin, "0.5*pbe+0.5*blyp") for name, spin in (("h2.xyz", 0), ("h.xyz", 1))}
    for xc in ("pbe", "blyp"):
        at = {}
        for name, field in mean.items():
            density = field.make_rdm1()
            field.xc = xc
            at[name] = field.energy_tot(density)
        members.append(2 * at["h.xyz"] - at["h2.xyz"])
    deviation = abs(members[0] - members[1]) / math.sqrt(2)  # of two numbers, one degree of freedom
    expected = math.sqrt(0.001**2 + (1.5 * deviation) ** 2)
    assert row["uncertainty_kcal_mol"] == pytest.approx(expected * HARTREE_TO_KCAL, abs=2e-3)
    assert row["energy_kcal_mol"] == pytest.approx(sum(members) / 2 * HARTREE_TO_KCAL, abs=0.02)
    assert row["energy_kcal_mol"] == pytest.approx(
        (row["right_hartree"] - row["left_hartree"]) * HARTREE_TO_KCAL, abs=1e-6
    )


def test_ionisation_sets_an_electron_free(command, files):
    equation = "h2.xyz -> h2_cation.xyz + e-"
    outcome = command("reaction", equation, "--xc", "pbe", *SMALL, "--json")
    assert outcome.status == 0, outcome.err
    one = json.loads(outcome.out)["reactions"][0]
    expected = pyscf_field("h2_cation.xyz", 1, "pbe").e_tot - pyscf_field("h2.xyz", 0, "pbe").e_tot
    assert one["energies"][0]["energy_kcal_mol"] == pytest.approx(expected * HARTREE_TO_KCAL, abs=0.02)
    assert [s["multiplicity"] for s in one["species"]] == [1, 2, None]


def test_charge_and_multiplicity_by_option(command, files):
    """A cation at the neutral's geometry, told apart by its name alone."""
    (files / "cation.xyz").write_text(FILES["h2.xyz"])
    options = ("--charge", "cation.xyz=1", "--multiplicity", "cation.xyz=2")
    outcome = command("reaction", "h2.xyz -> cation.xyz + e-", *options, "--xc", "pbe", *SMALL, "--json")
    assert outcome.status == 0, outcome.err
    cation = json.loads(outcome.out)["reactions"][0]["species"][1]
    assert (cation["charge"], cation["multiplicity"], cation["multiplicity_assumed"]) == (1, 2, False)
    outcome = command("reaction", "h2.xyz -> 2 h.xyz", "--charge", "cation.xyz=1", "--xc", "pbe", *SMALL)
    assert outcome.status == 1 and "'cation.xyz' is in no equation" in outcome.err


@pytest.mark.parametrize(
    ("equation", "said"),
    [
        ("water.xyz -> oh.xyz + 2 h.xyz", "H 2 on the left, 3 on the right"),
        ("h2.xyz -> h2_cation.xyz", "charge 0 on the left, 1 on the right"),
        ("h2.xyz -> oh.xyz + e-", "H 2 on the left, 1 on the right; O 0 on the left, 1 on the right; charge"),
        ("h2.xyz + h.xyz", "there is no arrow"),
        ("h2.xyz -> ", "there is no arrow"),
        ("h2.xyz -> 2 hh.xyz", "hh.xyz"),
        ("h2.xyz -> 2 no-such-thing", "there is no file no-such-thing"),
    ],
)
def test_what_is_no_reaction_is_one_line(command, files, equation, said):
    outcome = command("reaction", equation, "--xc", "pbe", *SMALL)
    assert outcome.status == 1 and outcome.out == ""
    assert said.lower() in outcome.err.lower().replace("'", "") and "Remedy" in outcome.err
    assert outcome.err.count("error:") == 1


def test_smiles_get_a_geometry(command, files):
    outcome = command("reaction", "[H][H] -> 2 [H]", "--xc", "lda,pw", *SMALL)
    assert outcome.status == 0, outcome.err
    assert "RDKit, force field" in outcome.out and "H2 -> 2 H" in outcome.out
    energy = float(next(line for line in outcome.out.splitlines() if "lda,pw" in line).split("|")[5])
    from pyscf import dft, gto

    from deepchem_dft.runs.reactions.equation import read_reaction

    made = read_reaction("[H][H] -> 2 [H]").left[0].system.moldesc
    mol = gto.M(atom=made, unit="Bohr", basis="sto-3g", verbose=0)
    assert 0.6 < np.linalg.norm(mol.atom_coord(0) - mol.atom_coord(1)) * 0.529177 < 0.8  # the bond, Angstrom
    field = dft.RKS(mol, xc="lda,pw")
    field.grids.level = 1
    expected = 2 * pyscf_field("h.xyz", 1, "lda,pw").e_tot - field.kernel()
    assert energy == pytest.approx(expected * HARTREE_TO_KCAL, abs=0.02)


def test_atomisation_of_many_files_goes_on_where_it_was_stopped(command, files):
    run = ("atomisation", "h2.xyz", "water.xyz", "--xc", "pbe", *SMALL, "--keep", "kept.jsonl", "--json")
    outcome = command(*run)
    assert outcome.status == 0, outcome.err
    rows = [one["energies"][0] for one in json.loads(outcome.out)["reactions"]]
    atoms = pyscf_field("h.xyz", 1, "pbe").e_tot
    expected = 2 * atoms - pyscf_field("h2.xyz", 0, "pbe").e_tot
    assert rows[0]["energy_kcal_mol"] == pytest.approx(expected * HARTREE_TO_KCAL, abs=0.02)
    kept = (files / "kept.jsonl").read_text().splitlines()
    assert len(kept) == 4  # two molecules and, once each, two atoms
    (files / "kept.jsonl").write_text("".join(line + "\n" for line in kept[:-1]) + kept[-1][:40])  # killed
    again = command(*run)
    assert json.loads(again.out) == json.loads(outcome.out)
    lines = (files / "kept.jsonl").read_text().splitlines()
    assert lines[:3] == kept[:3] and len(lines) == 4  # one was solved again


def test_atomisation_of_an_ion_says_what_to_do(command, files):
    outcome = command("atomisation", "h2_cation.xyz", "--xc", "pbe", *SMALL)
    assert outcome.status == 1 and "write the reaction out" in outcome.err
