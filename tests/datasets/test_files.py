"""What holds for every data file: counts, balance, parity, geometry, sources, splits."""

import re
from collections import Counter

import numpy as np
import pytest
from pyscf.data.elements import ELEMENTS, charge

from deepchem_dft.molnet import datasets_dir
from deepchem_dft.units import BOHR_TO_ANGSTROM, HARTREE_TO_KCAL

from .conftest import kcal, table

#: Hund's rules for the ground states of the neutral atoms, in the order of nuclear charge.
HUND = dict(zip(ELEMENTS[1:], (1, 0, 1, 0, 1, 2, 3, 2, 1, 0, 1, 0, 1, 2, 3, 2, 1, 0)))
#: Radii in Angstrom (Cordero et al., Dalton Trans. 2008, 2832).
RADIUS = {"H": 0.31, "Li": 1.28, "Be": 0.96, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57}
RADIUS |= {"Na": 1.66, "Al": 1.21, "Si": 1.11, "P": 1.07, "S": 1.05, "Cl": 1.02}
SPLITS = {
    "w4-11": (31, 13, 70, 0),
    "xcnn-train": (26, 19, 0, 0),
    "xcnn-test": (0, 0, 103, 0),
    "atomic-ip": (2, 2, 14, 0),
    "atomic-ea": (1, 1, 10, 0),
    "molecular-ip": (2, 2, 12, 0),
    "molecular-vip": (2, 4, 80, 0),
    "barriers": (11, 6, 5, 0),
    "h2-curve": (0, 0, 0, 36),
    "atomic-total-energy": (0, 0, 0, 18),
}
TYPES = {
    "w4-11": {"ae"},
    "xcnn-train": {"ae", "ie", "dens"},
    "xcnn-test": {"ae"},
    "atomic-ip": {"ie"},
    "atomic-ea": {"ea"},
    "molecular-ip": {"ie"},
    "molecular-vip": {"ie"},
    "barriers": {"reaction"},
    "h2-curve": {"reaction"},
    "atomic-total-energy": {"energy"},
}


def composition(system) -> Counter:
    """Count elements with code that is not the package's."""
    return Counter(part.split()[0] for part in system.moldesc.split(";"))


def hill(system) -> tuple:
    return tuple(sorted(composition(system).items()))


def test_files_counts_types_and_splits(files):
    assert set(files) == set(SPLITS)
    for stem, group in files.items():
        parts = Counter(entry.split for entry in group.values())
        assert tuple(parts[s] for s in ("train", "valid", "test", None)) == SPLITS[stem], stem
        assert {entry.entry_type for entry in group.values()} == TYPES[stem]


def test_names_are_unique_and_say_their_file(files, entries):
    assert len({entry.name for entry in entries}) == len(entries) == 470
    for stem, group in files.items():
        assert all(name.startswith(f"{stem}:") for name in group)


def test_every_value_has_a_source_and_a_finite_value(entries):
    for entry in entries:
        assert len(entry.source) > 10, entry.name
        if entry.is_energy:
            assert entry.get_true_val().shape == (1,) and np.isfinite(entry.label), entry.name
        assert entry.get_weight() == 1


def test_atoms_and_charges_balance(entries):
    """Sum of c_i times the atoms of system i is zero; ionisation changes the charge by one."""
    change = {"ae": 0, "reaction": 0, "ie": 1, "ea": 1}
    for entry in entries:
        if entry.entry_type not in change or entry.coefficients == [-1.0]:
            continue
        total, charge = Counter(), 0.0
        for system, c in zip(entry.get_systems(), entry.coefficients, strict=True):
            for symbol, count in composition(system).items():
                total[symbol] += c * count
            charge += c * system.charge
        assert not any(total.values()), entry.name
        assert charge == change[entry.entry_type], entry.name


def test_electron_numbers_have_the_parity_of_the_spin(entries):
    for entry in entries:
        for system in entry.get_systems():
            electrons = sum(charge(s) * n for s, n in composition(system).items()) - system.charge
            assert (electrons - system.spin) % 2 == 0 and 0 <= system.spin <= electrons, entry.name
            assert sum(system.electrons) == electrons


def test_neutral_atoms_are_in_their_ground_states(entries):
    seen = set()
    for entry in entries:
        for system in entry.get_systems():
            if len(system.symbols) == 1 and system.charge == 0:
                seen.add(system.symbols[0])
                assert system.spin == HUND[system.symbols[0]], entry.name
    assert seen == set(HUND)


def test_ionised_atoms_follow_from_hunds_rules(files):
    """A cation of Z electrons minus one has the spin of the element before, likewise anions."""
    elements = list(HUND)
    for stem, step in (("atomic-ip", -1), ("atomic-ea", 1)):
        for entry in files[stem].values():
            neutral, *rest = entry.get_systems()
            for ion in rest:
                z = charge(ion.symbols[0])
                assert ion.spin == HUND[elements[z - 1 + step]], entry.name
            assert neutral.charge == 0


def test_no_two_atoms_are_closer_than_a_bond(entries):
    """CH3CN of the source has two hydrogens 1.97 Bohr apart; no molecule but H2 may."""
    checked = 0
    for entry in entries:
        if entry.name.startswith(("h2-curve:", "barriers:")):
            continue  # compressed H2 and transition states are meant to be short
        for system in entry.get_systems():
            x = system.positions
            for i in range(len(x)):
                for j in range(i):
                    pair = {system.symbols[i], system.symbols[j]}
                    distance = np.linalg.norm(x[i] - x[j])
                    bond = RADIUS[system.symbols[i]] + RADIUS[system.symbols[j]]
                    assert distance > 0.74 * bond / BOHR_TO_ANGSTROM, (entry.name, distance)
                    if pair == {"H"} and len(x) > 2 and system.name != "SiH4+":
                        assert distance > 2.5, (entry.name, distance)
                        checked += 1
    assert checked > 500


def test_molecules_are_in_one_piece(entries):
    """Every atom is within 1.35 times the sum of radii of the rest (units are not mixed up)."""
    for entry in entries:
        if entry.entry_type not in ("ae", "ie"):
            continue
        system = entry.get_systems()[0]
        x, reached, grew = system.positions, {0}, True
        while grew:
            grew = False
            for i in set(range(len(x))) - reached:
                for j in reached:
                    bond = RADIUS[system.symbols[i]] + RADIUS[system.symbols[j]]
                    if np.linalg.norm(x[i] - x[j]) < 1.35 * bond / BOHR_TO_ANGSTROM:
                        reached.add(i)
                        grew = True
                        break
        assert len(reached) == len(x) or entry.name == "w4-11:be2", entry.name


def test_systems_are_bound_and_ions_cost_energy(entries):
    for entry in entries:
        if entry.entry_type in ("ae", "ie", "ea"):
            assert entry.label > 0, entry.name
        if entry.entry_type == "ae":
            bonds = entry.label * HARTREE_TO_KCAL / (len(entry.get_systems()[0].symbols) - 1)
            assert 2 < bonds < 265, (entry.name, bonds)  # CO has the strongest bond there is
        if entry.entry_type == "ie":
            assert 0.15 < entry.label < 0.95, entry.name


def test_the_test_part_is_not_trained_on_elsewhere(files):
    """By sum formula, as datasets/README.md promises for dft_dataset1."""
    held = {"w4-11", "molecular-ip", "molecular-vip"}
    test, used = set(), set()
    for stem in held:
        for entry in files[stem].values():
            (test if entry.split == "test" else used).add(hill(entry.get_systems()[0]))
    for entry in files["xcnn-train"].values():
        if entry.entry_type == "ae" and "dataset1" in entry.tags["datasets"]:
            used.add(hill(entry.get_systems()[0]))
    assert len(test) > 80 and not test & used
    unseen = {
        hill(e.get_systems()[0])
        for e in files["xcnn-test"].values()
        if "dataset1" not in e.tags.get("seen_in", [])
    }
    assert len(unseen) >= 90 and not unseen & used


def test_train_and_valid_of_w411_share_only_the_isomers_that_are_named(files):
    parts = {
        s: {hill(e.get_systems()[0]) for e in files["w4-11"].values() if e.split == s}
        for s in ("train", "valid", "test")
    }
    shared = {"".join(f"{s}{n if n > 1 else ''}" for s, n in f) for f in parts["train"] & parts["valid"]}
    assert shared == {"CH4N", "BN", "HO3", "ClO2"}
    assert not parts["test"] & (parts["train"] | parts["valid"])


def test_seen_in_is_the_overlap_of_xcnn_train_and_test(files):
    trained = {}
    for entry in files["xcnn-train"].values():
        if entry.entry_type in ("ae", "ie"):
            key = (entry.entry_type, hill(entry.get_systems()[0]))
            trained[key] = entry.tags["datasets"]
    found = 0
    for entry in [*files["xcnn-test"].values(), *files["atomic-ip"].values()]:
        key = (entry.entry_type, hill(entry.get_systems()[0]))
        assert entry.tags.get("seen_in") == trained.get(key), entry.name
        found += key in trained
    assert found == len(trained) == 17 + 8


def test_transition_states_are_in_one_split(files):
    splits: dict = {}
    for entry in files["barriers"].values():
        splits.setdefault(entry.tags["transition_state"], set()).add(entry.split)
    assert len(splits) == 12 and all(len(s) == 1 for s in splits.values())


def test_xcnn_training_sets_have_the_published_sizes(files):
    counts = Counter((e.entry_type, d) for e in files["xcnn-train"].values() for d in e.tags["datasets"])
    assert [counts["ae", f"dataset{i}"] for i in (1, 2, 3)] == [8, 16, 9]
    assert [counts["ie", f"dataset{i}"] for i in (1, 2, 3)] == [4, 8, 4]
    assert [counts["dens", f"dataset{i}"] for i in (1, 2, 3)] == [15, 19, 16]


def test_the_published_split_rule_reproduces_the_split(files):
    """Valid if the symbol list contains He, Be, N, F, P or S: the rule of the paper."""
    for entry in files["xcnn-train"].values():
        elements = set(entry.get_systems()[0].symbols)
        valid = bool(elements & {"He", "Be", "N", "F", "P", "S"})
        assert entry.split == ("valid" if valid else "train"), entry.name


@pytest.mark.parametrize("path", sorted(datasets_dir().glob("*.yaml")), ids=lambda p: p.stem)
def test_headers_say_what_the_numbers_are(path):
    header = path.read_text().split("\nformat:")[0]
    assert header.startswith("# ") and all(line.startswith("#") for line in header.split("\n") if line)
    assert "Caveats" in header or "caveats" in header
    assert "spin = 2S" in header or path.stem == "h2-curve"
    assert re.search("kcal/mol|Hartree|eV", header)
    assert max(map(len, path.read_text().splitlines())) <= 132


def test_readme_lists_every_file_with_its_size(files):
    text = (datasets_dir() / "README.md").read_text()
    for stem, (train, valid, test, none) in SPLITS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{stem}.yaml`"))
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[4] == str(train + valid + test + none)
        assert cells[5] == ("no split" if none else f"{train} / {valid} / {test}")


def test_baseline_table_belongs_to_the_entries(files):
    rows = table("baselines.csv")
    everything = {n: e for group in files.values() for n, e in group.items()}
    assert len(rows) == len({row["entry"] for row in rows}) == 71
    errors: dict = {}
    for row in rows:
        entry = everything[row["entry"]]
        reference = entry.tags.get("total_energy", entry.label)
        assert float(row["reference"]) == pytest.approx(reference * HARTREE_TO_KCAL, abs=6e-4)
        if row["type"] != "energy":
            assert row["type"] == entry.entry_type
            group = row["entry"].split(":")[0]
            errors.setdefault(group, []).append(float(row["PBE"]) - float(row["reference"]))
    mae = {group: np.mean(np.abs(e)) for group, e in errors.items()}
    assert mae["w4-11"] == pytest.approx(8.33, abs=0.005)
    assert mae["xcnn-train"] == pytest.approx(11.72, abs=0.005)
    assert mae["atomic-ip"] == pytest.approx(3.62, abs=0.005)


#: Mean absolute errors over the whole list, as printed with the paper.
PUBLISHED = {
    "PBE": (16.52, 3.64),
    "LDA": (70.48, 6.89),
    "SCAN": (5.22, 3.66),
    "B3LYP": (4.39, 3.59),
    "CCSD": (12.13, 2.02),
    "CCSD(T)": (3.53, 1.29),
    "XCNN-LDA": (15.45, 50.77),
    "XCNN-LDA-IP": (18.47, 15.15),
    "XCNN-PBE": (7.43, 10.73),
    "XCNN-PBE-IP": (8.05, 4.08),
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_table_gives_the_published_means(method):
    rows = table("xcnn-published.csv")
    for ionisation, mean in zip((False, True), PUBLISHED[method], strict=True):
        errors = [
            abs(float(row[method])) for row in rows if (row["group"] == "IP18") == ionisation and row[method]
        ]
        assert np.mean(errors) == pytest.approx(mean, abs=0.006)


def test_published_table_belongs_to_the_entries(files):
    rows = table("xcnn-published.csv")
    known = files["xcnn-test"] | files["atomic-ip"]
    assert {row["entry"] for row in rows} == set(known) and len(rows) == 122
    for row in rows:
        value = kcal(known[row["entry"]])
        assert float(row["reference"]) == pytest.approx(value, rel=1e-4, abs=0.01), row["entry"]


def test_files_are_utf8_without_tabs():
    texts = (p for p in datasets_dir().rglob("*") if p.suffix in (".yaml", ".csv", ".md", ".py"))
    for path in sorted(texts):
        assert "\t" not in path.read_text(encoding="utf-8"), path.name
