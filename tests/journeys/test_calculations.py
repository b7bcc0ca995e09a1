"""One molecule and many: what is shown, what is left for other programs, and going on."""

import json
import re

import numpy as np
import pytest

from .test_reactions import pyscf_field

SMALL = ("--basis", "sto-3g", "--grid-level", "1")


def test_a_radical_cation_by_multiplicity(command, files):
    outcome = command("scf", "h2_cation.xyz", *SMALL, "--xc", "pbe", "-q")
    said = command("scf", "h2.xyz", *SMALL, "--xc", "pbe", "--charge", "1", "--multiplicity", "2", "-q")
    assert outcome.status == said.status == 0 and outcome.err == said.err == ""
    field = pyscf_field("h2_cation.xyz", 1, "pbe")
    assert float(re.search(r"energy: +(\S+) Ha", outcome.out)[1]) == pytest.approx(field.e_tot, abs=1e-7)
    assert "charge +1, 2S = 1" in outcome.out and "charge +1, 2S = 1" in said.out
    both = command("scf", "h2.xyz", "--spin", "1", "--multiplicity", "3")
    assert both.status == 1 and "contradict each other" in both.err


def test_what_was_understood_and_a_line_per_iteration(command, files):
    outcome = command("scf", "water.xyz", *SMALL, "--xc", "pbe")
    lines = outcome.err.splitlines()
    assert lines[0] == "H2O: charge +0, multiplicity 1, 10 electrons (5 alpha, 5 beta)"
    # sqrt(0.7572^2 + 0.5865^2), from the coordinates of the file
    assert "water.xyz, in angstrom; shortest distance O1-H2 0.958 Angstrom (1.810 Bohr)" in lines[1]
    assert lines[2] == "pbe, sto-3g (7 orbitals), grid level 1"
    assert lines[3].split() == ["step", "energy", "(Ha)", "change", "(Ha)", "residual", "(Ha)", "CPU", "(s)"]
    steps = [line.split() for line in lines[4:]]
    assert [int(step[0]) for step in steps] == list(range(1, len(steps) + 1))
    printed = float(re.search(r"energy: +(\S+) Ha", outcome.out)[1])
    assert float(steps[-1][1]) == pytest.approx(printed, abs=1e-8) and float(steps[-1][3]) < 1e-6


def test_properties_are_those_of_pyscf(command, files):
    outcome = command("scf", "oh.xyz", *SMALL, "--xc", "pbe", "-q")
    field = pyscf_field("oh.xyz", 1, "pbe")
    charge = float(re.search(r"^  O1 +(\S+)", outcome.out, re.M)[1])
    assert charge == pytest.approx(field.mulliken_pop(verbose=0)[1][0], abs=1e-3)
    moments = field.quad_moment(origin=_centre(field.mol), verbose=0)
    shown = re.search(r"quadrupole: xx (\S+), yy (\S+), zz (\S+),", outcome.out).groups()
    # an open shell may point along x or y, so along the bond only
    assert float(shown[2]) == pytest.approx(moments[2, 2], abs=2e-3)
    spin = float(re.search(r"<S\^2> = (\S+) ", outcome.out)[1])
    assert spin == pytest.approx(field.spin_square()[0], abs=1e-3)
    kinetic = float(re.search(r"kinetic +(\S+)", outcome.out)[1])
    density = field.make_rdm1().sum(0)
    assert kinetic == pytest.approx(np.sum(density * field.mol.intor("int1e_kin")), abs=1e-4)


def _centre(mol) -> np.ndarray:
    masses = mol.atom_mass_list(isotope_avg=True)
    return masses @ mol.atom_coords() / masses.sum()


def test_json_is_qcschema(command, files):
    outcome = command("scf", "water.xyz", *SMALL, "--xc", "b3lyp", "-q", "--json", "--forces")
    assert outcome.status == 0, outcome.err
    data = json.loads(outcome.out)
    field = pyscf_field("water.xyz", 0, "b3lyp")
    assert (data["schema_name"], data["schema_version"]) == ("qcschema_output", 1)
    assert data["success"] and data["driver"] == "gradient" and data["model"]["basis"] == "sto-3g"
    parts = data["properties"]
    assert parts["return_energy"] == pytest.approx(field.e_tot, abs=1e-7)
    assert parts["nuclear_repulsion_energy"] == pytest.approx(field.mol.energy_nuc(), abs=1e-9)
    sums = ("nuclear_repulsion_energy", "scf_one_electron_energy", "scf_two_electron_energy", "scf_xc_energy")
    assert sum(parts[name] for name in sums) == pytest.approx(parts["scf_total_energy"], abs=1e-9)
    gradient = field.nuc_grad_method()
    gradient.grid_response = True
    assert np.allclose(data["return_result"], gradient.kernel().ravel(), atol=2e-5)
    assert np.allclose(np.reshape(data["molecule"]["geometry"], (-1, 3)), field.mol.atom_coords())
    assert np.allclose(parts["scf_dipole_moment"], field.dip_moment(unit="AU", verbose=0), atol=1e-5)
    assert (
        data["molecule"]["molecular_multiplicity"] == 1 and data["extras"]["deepchem_dft"]["warnings"] == []
    )


def test_files_are_opened_by_other_programs(command, files):
    outcome = command(
        "scf", "oh.xyz", *SMALL, "--xc", "pbe", "-q", "--molden", "oh.molden", "--xyz", "out.xyz",
        "--cube", "density=all.cube", "--cube", "spin-density=spin.cube", "--cube", "homo=homo.cube",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("written: ") == 5
    energy = float(re.search(r"energy: +(\S+) Ha", outcome.out)[1])
    import ase.io
    from ase.io.cube import read_cube
    from pyscf import dft
    from pyscf.tools import molden

    atoms = ase.io.read("out.xyz")
    assert atoms.get_potential_energy() == pytest.approx(energy * 27.211386245988, abs=1e-5)
    assert abs(atoms.get_forces().sum()) < 1e-3 and atoms.info["mult"] == 2
    volumes = {}
    for name in ("all", "spin", "homo"):
        with open(f"{name}.cube") as stream:
            cube = read_cube(stream)
        step = abs(np.linalg.det(cube["spacing"])) / 0.529177210903**3  # Bohr^3
        values = cube["data"] ** 2 if name == "homo" else cube["data"]
        volumes[name] = float(values.sum() * step)
    assert volumes["all"] == pytest.approx(9, abs=0.4)  # the core is sharper than the grid
    assert volumes["spin"] == pytest.approx(1, abs=0.03) and volumes["homo"] == pytest.approx(1, abs=0.03)
    mol, _, orbitals, occupations, *_ = molden.load("oh.molden")
    mol.spin = 1
    mol.build(verbose=0)
    field = dft.UKS(mol, xc="pbe")
    field.grids.level = 1
    density = [(c * f) @ c.T for c, f in zip(orbitals, occupations, strict=True)]
    assert field.energy_tot(np.array(density)) == pytest.approx(energy, abs=1e-5)


def test_orbitals_are_written_and_read(command, files):
    first = command("scf", "water.xyz", *SMALL, "--xc", "pbe", "--write", "water.npz", "-q")
    again = command("scf", "water.xyz", *SMALL, "--xc", "pbe", "--read", "water.npz", "-q")
    counts = [int(re.search(r"after (\d+) iterations", done.out)[1]) for done in (first, again)]
    assert counts[1] <= 2 < counts[0]
    energies = [float(re.search(r"energy: +(\S+) Ha", done.out)[1]) for done in (first, again)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)
    with np.load("water.npz", allow_pickle=False) as content:
        orbitals, overlap = content["orbitals"][0], pyscf_field("water.xyz", 0, "pbe").get_ovlp()
    assert np.allclose(orbitals.T @ overlap @ orbitals, np.eye(7), atol=1e-9)
    for geometry, more, said in (
        ("oh.xyz", SMALL, "orbitals of other atoms"),
        ("water.xyz", ("--basis", "6-31g"), "7 functions, the basis of the molecule 13"),
    ):
        outcome = command("scf", geometry, *more, "--read", "water.npz", "-q")
        assert outcome.status == 1 and said in outcome.err
    np.savez("bad.npz", format=np.array([{"a": 1}], dtype=object))  # a pickle inside
    outcome = command("scf", "water.xyz", *SMALL, "--read", "bad.npz")
    assert outcome.status == 1 and "no file of orbitals" in outcome.err


def test_many_files_killed_and_resumed(command, files):
    lengths = np.linspace(0.6, 1.0, 8)
    for number, length in enumerate(lengths):
        (files / f"m{number}.xyz").write_text(f"2\n\nH 0 0 0\nH 0 0 {length:.4f}\n")
    (files / "bad.xyz").write_text("2\n\nH 0 0 0\n")
    names = [f"m{number}.xyz" for number in range(8)] + ["oh.xyz"]
    run = ("scf", *names, *SMALL, "--xc", "pbe", "--jobs", "1", "-q", "--keep", "kept.jsonl", "--json")
    whole = command(*run)
    assert whole.status == 0, whole.err
    rows = json.loads(whole.out)["rows"]
    assert [row["source"] for row in rows] == names and rows[-1]["multiplicity"] == 2
    assert rows[-1]["energy_hartree"] == pytest.approx(pyscf_field("oh.xyz", 1, "pbe").e_tot, abs=1e-5)
    lines = (files / "kept.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 9
    (files / "kept.jsonl").write_text("".join(lines[:4]) + lines[4][:30])  # killed in the fifth
    assert json.loads(command(*run).out) == json.loads(whole.out)
    now = (files / "kept.jsonl").read_text().splitlines(keepends=True)
    assert now[:4] == lines[:4] and len(now) == 9
    text = command("scf", *names, "bad.xyz", *SMALL, "--xc", "pbe", "-q", "--keep", "kept.jsonl")
    assert text.status == 1 and text.out.count("converged") == 9 and "FAILED" in text.out
    assert "bad.xyz" in text.err and "announces 2 atoms, there are 1" in text.err
    refused = command("scf", *names, "--forces")
    assert refused.status == 1 and "forces is for one molecule" in refused.err


def test_too_few_iterations_are_said(command, files):
    outcome = command("scf", "water.xyz", *SMALL, "--maxiter", "3", "-q", "--molden", "w.molden")
    assert outcome.status == 1 and "nothing was written" in outcome.err and "iteration limit" in outcome.out
    assert not (files / "w.molden").exists()


def test_an_effective_core_by_name(command, files):
    from pyscf import dft, gto

    geometry = "H 0 0 0; Br 0 0 2.7"
    options = ("--basis", "lanl2dz", "--ecp", "lanl2dz", "--grid-level", "1", "--xc", "pbe")
    outcome = command("scf", geometry, *options)
    mol = gto.M(atom=geometry, unit="Bohr", basis="lanl2dz", ecp="lanl2dz", verbose=0)
    field = dft.RKS(mol, xc="pbe")
    field.grids.level = 1
    energy = float(re.search(r"energy: +(\S+) Ha", outcome.out)[1])
    assert energy == pytest.approx(field.kernel(), abs=1e-6)
    assert "8 electrons (4 alpha, 4 beta, 28 more in effective cores)" in outcome.err


def test_a_trajectory_and_its_json(command, files):
    import ase.io

    (files / "way.xyz").write_text("what an earlier relaxation left\n" * 99)
    outcome = command(
        "optimize", "h2.xyz", *SMALL, "--xc", "pbe", "--fmax", "0.002", "--trajectory", "way.xyz", "--json"
    )
    assert outcome.status == 0, outcome.err
    data = json.loads(outcome.out)
    frames = ase.io.read("way.xyz", index=":")
    assert data["converged"] and len(frames) == len(data["steps"]) > 1
    for frame, step in zip(frames, data["steps"], strict=True):
        assert frame.get_potential_energy() == pytest.approx(
            step["energy_hartree"] * 27.211386245988, abs=1e-6
        )
        largest = np.linalg.norm(frame.get_forces(), axis=1).max() / 27.211386245988 * 0.529177210903
        assert largest == pytest.approx(step["largest_force_hartree_per_bohr"], abs=1e-7)
    # first along the way downhill, then what is left is small
    assert data["steps"][-1]["largest_force_hartree_per_bohr"] < 0.002 < step_force(data["steps"][0])
    last = np.reshape(data["last"]["molecule"]["geometry"], (-1, 3)) * 0.529177210903
    assert np.allclose(last, frames[-1].positions, atol=1e-6)


def step_force(step) -> float:
    return step["largest_force_hartree_per_bohr"]


def test_json_of_curves_and_predictions(command, files):
    run = ("curve", "H 0 0 0; H 0 0 {R}", "--xc", "pbe", *SMALL, "--start", "1.2", "--stop", "1.6")
    outcome = command(*run, "--points", "2", "--jobs", "1", "--json")
    data = json.loads(outcome.out)
    from pyscf import dft, gto

    mol = gto.M(atom="H 0 0 0; H 0 0 1.6", unit="Bohr", basis="sto-3g", verbose=0)
    field = dft.RKS(mol, xc="pbe")
    field.grids.level = 1
    assert data["distances_bohr"] == pytest.approx([1.2, 1.6])
    assert data["energies_hartree"]["pbe"][1] == pytest.approx(field.kernel(), abs=1e-7)
    (files / "h2.yaml").write_text(
        "format: deepchem_dft/1\nsource: test\ndefaults: {basis: sto-3g, unit: bohr}\nentries:\n"
        "- {name: h2, type: energy, value: -1.1 Ha, systems: [{geometry: H 0 0 0; H 0 0 1.6}]}\n"
    )
    options = ("--dataset", "h2.yaml", "--grid-level", "1", "--jobs", "1", "--json")
    outcome = command("evaluate", "--xc", "pbe", *options)
    assert outcome.status == 0, outcome.err
    entry = json.loads(outcome.out)["entries"][0]
    assert entry["unit"] == "kcal/mol"
    assert entry["calculated"] == pytest.approx(field.e_tot * 627.5094740631, abs=1e-3)


def test_predictions_need_no_value(command, files):
    (files / "mine.yaml").write_text(
        "format: deepchem_dft/1\nsource: mine\ndefaults: {basis: 6-31g, unit: bohr}\nsystems:\n"
        "  h2: H 0 0 0; H 0 0 1.4\nentries:\n- {name: bond, type: ae, molecule: h2, atoms: auto}\n"
    )
    options = ("--basis", "sto-3g", "--grid-level", "1", "--jobs", "1", "--out", "p.csv")
    outcome = command("predict", "pbe", "mine.yaml", *options)
    assert outcome.status == 0, outcome.err
    header, _, row = outcome.out.splitlines()[:3]
    assert "error" not in header and "reference" not in header
    from pyscf import dft, gto

    energies = []
    for atom, spin in (("H 0 0 0", 1), ("H 0 0 0; H 0 0 1.4", 0)):
        mol = gto.M(atom=atom, unit="Bohr", basis="sto-3g", spin=spin, verbose=0)
        field = (dft.UKS if spin else dft.RKS)(mol, xc="pbe")
        field.grids.level = 1
        energies.append(field.kernel())
    calculated = float(row.split("|")[4])
    assert calculated == pytest.approx((2 * energies[0] - energies[1]) * 627.5094740631, abs=0.02)
    refused = command("evaluate", "--xc", "pbe", "--dataset", "mine.yaml")
    assert refused.status == 1 and "value is missing" in refused.err
