"""The board GSCDB138: rows can be read and balance, the split keeps molecules apart, totals are right."""

import csv
from collections import Counter

import numpy as np
import pytest
from rdkit.Chem import GetPeriodicTable

from deepchem_dft.data.boards.totals import diet, gmtkn55_means, weighted_total, weights
from deepchem_dft.data.stoichiometry import bare_particle
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.molnet import board, load_gscdb138
from deepchem_dft.units import HARTREE_TO_KCAL

BONDS = ("TAE", "BDE", "HAT", "BH")


@pytest.fixture(scope="module")
def gscdb():
    return board("gscdb138")


def test_every_row_balances_with_its_electrons_and_protons(gscdb):
    """Counted again from nuclear charges: protons and electrons on both sides, for all 5,459 reactions."""
    charges = gscdb._arrays["charges"]
    for row in gscdb.rows:
        atoms, electrons = Counter(), 0
        for number, c in row.members:
            symbols = gscdb.symbols(number)
            atoms.update({s: c * n for s, n in Counter(symbols).items()})
            electrons += c * (sum(NUCLEAR_CHARGE[s] for s in symbols) - int(charges[number]))
        electrons += row.bare.get("e-", 0)
        atoms["H"] += row.bare.get("H+", 0)
        if row.kind == "AE":
            assert row.members[0][1] == 1 and len(row.members) == 1
        else:
            assert electrons == 0 and not any(atoms.values()), row.name
    assert sum(bool(row.bare) for row in gscdb.rows) == 210


def test_all_small_rows_become_entries(gscdb):
    rows = gscdb.select(max_heavy=2, split="test")
    entries = gscdb.entries(rows, basis="def2-svpd")
    assert len(entries) == len(rows) > 200
    assert {e.tags["type"] for e in entries} == {"TC", "BH", "I", "NC", "F", "TM"}
    assert all(e.label == gscdb.rows[i].reference for e, i in zip(entries, rows))


@pytest.mark.slow
def test_every_row_becomes_an_entry(gscdb):
    _, (everything,), _ = load_gscdb138(splitter=None)
    assert len(everything) == 5478


def test_proton_affinity_and_double_ionisation_have_their_signs(gscdb):
    affinity = gscdb.rows[gscdb.by_name["PA26_7"]]  # acetylene
    assert affinity.bare == {"H+": 1} and affinity.reference > 0.2
    double = gscdb.rows[gscdb.by_name["DIPCS10_2"]]  # ethane
    assert double.bare == {"e-": 2} and double.reference > 1.0
    atom = gscdb.rows[gscdb.by_name["G21IP_1"]]  # H -> H+ + e-, whose value is a known mistake of the set
    assert atom.bare == {"H+": 1, "e-": 1} and atom.flags == ("suspect",)
    assert 0.5001 < atom.reference < 0.502


# -- the split ------------------------------------------------------------------------------------


def formula(symbols):
    return tuple(sorted(Counter(symbols).items()))


def graph(symbols, positions):
    """Identify a molecule by its bonds: neighbours' neighbours, four times over."""
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    reach = np.array([GetPeriodicTable().GetRcovalent(s) for s in symbols])
    bonds = (apart < 1.25 * (reach[:, None] + reach)) & (apart > 0)
    labels = list(symbols)
    for _ in range(4):
        labels = [
            f"{label}({','.join(sorted(labels[j] for j in np.flatnonzero(bonds[i])))})"
            for i, label in enumerate(labels)
        ]
        labels = [str(hash(label)) for label in labels]
    return tuple(sorted(labels))


def shape(symbols, positions):
    """Identify a geometry by its distances, to a hundredth of an Angstrom."""
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    pairs = (
        (*sorted((symbols[i], symbols[j])), round(apart[i, j], 2))
        for i in range(len(symbols))
        for j in range(i)
    )
    return tuple(sorted(pairs))


def identities(gscdb, chosen):
    """Return formulae, graphs and shapes of all members with more than one heavy atom."""
    numbers = {n for i in chosen for n, _ in gscdb.rows[i].members if gscdb.heavy[n] > 1}
    found = ([], [], [])
    for n in numbers:
        symbols, positions = gscdb.symbols(n), gscdb.positions(n)
        for kind, name in zip(
            found, (formula(symbols), graph(symbols, positions), shape(symbols, positions))
        ):
            kind.append(name)
    return tuple(map(set, found))


def rows_of(gscdb, split, kinds=(), types=()):
    return [i for i, r in enumerate(gscdb.rows) if r.split == split and (r.kind in kinds or r.type in types)]


@pytest.mark.parametrize(("held", "others"), [("test", ("train", "valid")), ("valid", ("train",))])
def test_no_molecule_of_a_held_out_bond_or_barrier_occurs_elsewhere(gscdb, held, others):
    mine = identities(gscdb, rows_of(gscdb, held, kinds=BONDS))
    assert len(mine[0]) > 20
    for other in others:
        kinds = (*BONDS, "RE") if other == "train" else BONDS
        theirs = identities(gscdb, rows_of(gscdb, other, kinds=kinds))
        for what, a, b in zip(("formula", "graph", "geometry"), mine, theirs):
            assert not a & b, f"{held} and {other} share a {what}"


def test_ions_go_with_their_molecules(gscdb):
    """Ionisation, electron and proton affinities: no formula is on two sides, whatever its charge."""
    kinds = ("IP", "EA", "PA", *BONDS)
    test = identities(gscdb, rows_of(gscdb, "test", kinds=kinds))[0]
    assert not test & identities(gscdb, rows_of(gscdb, "train", kinds=(*kinds, "RE")))[0] - _protonated(gscdb)


def _protonated(gscdb):
    """Formulae of bases beside their protonated forms: a proton affinity is placed by the larger one."""
    return identities(gscdb, [i for i, r in enumerate(gscdb.rows) if r.kind == "PA"])[0]


def test_conformers_and_distances_of_a_dimer_stay_together(gscdb):
    sides = {}
    for row in gscdb.rows:
        if row.type in ("NC", "I") and row.split:
            largest = max((n for n, _ in row.members), key=lambda n: (gscdb.heavy[n], len(gscdb.symbols(n))))
            sides.setdefault(formula(gscdb.symbols(largest)), set()).add(row.split)
    assert len(sides) > 150 and all(len(s) == 1 for s in sides.values())


def test_every_part_has_rows_of_every_kind(gscdb):
    held = Counter((r.kind, r.split) for r in gscdb.rows)
    for kind in ("TAE", "BDE", "HAT", "BH", "IP", "EA", "PA", "RE", "I", "NC"):
        n = sum(held[kind, s] for s in ("train", "valid", "test"))
        assert held[kind, "test"] >= 0.15 * n and held[kind, "valid"] > 0.05 * n


def test_flag_of_the_other_test_set(gscdb):
    """Without flagged rows no molecule of W4-11's test set is left among training bonds and barriers."""
    from deepchem_dft.data import read_yaml
    from deepchem_dft.molnet import datasets_dir

    tested = {
        formula(s.symbols)
        for e in read_yaml(datasets_dir() / "w4-11.yaml")
        if e.split == "test"
        for s in e.get_systems()
        if len(s.symbols) > 1
    }
    clean = [i for i in rows_of(gscdb, "train", kinds=BONDS) if "w4-11-test" not in gscdb.rows[i].flags]
    left = {formula(gscdb.symbols(n)) for i in clean for n, _ in gscdb.rows[i].members}
    assert len(tested) > 60 and len(clean) > 300 and not left & tested


# -- published values and totals ------------------------------------------------------------------


def mae(gscdb, functional, sets):
    rows = gscdb.select(sets=sets)
    return np.mean([abs(gscdb.published_errors(i)[functional]) for i in rows])


def test_published_values_are_energies_of_the_reaction(gscdb):
    i = gscdb.by_name["TAE_W4-17_118"]  # HCl: 107.5 kcal/mol
    values = gscdb.published(i)
    assert set(values) == set(gscdb.functionals) and len(values) == 16
    assert all(abs(v - 107.5) < 6 for v in values.values())
    assert gscdb.rows[i].reference * HARTREE_TO_KCAL == pytest.approx(107.5, abs=0.1)


def test_published_errors_are_those_that_are_known(gscdb):
    """wB97M-V beats B3LYP on bonds and barriers; S66 needs dispersion, which B3LYP has none of."""
    assert 1.5 < mae(gscdb, "wB97M-V", ["TAE_W4-17nonMR"]) < 1.9
    assert 3.0 < mae(gscdb, "B3LYP", ["TAE_W4-17nonMR"]) < 6.0
    assert mae(gscdb, "wB97M-V", ["S66"]) < 0.2 and mae(gscdb, "B3LYP", ["S66"]) > 2


def test_weights_are_those_of_gmtkn55(gscdb):
    means = gmtkn55_means(gscdb.folder)
    assert len(means) == 55 and np.mean(list(means.values())) == pytest.approx(56.84, abs=0.005)
    w = weights(gscdb)
    assert w["BH76_3"] == pytest.approx(56.84 / 18.61) and w["S66_1"] == pytest.approx(10.39, abs=0.02)
    assert max(w.values()) == pytest.approx(98.0, abs=0.01) and "AE18_2" not in w and "V30_1" not in w


def test_diet_holds_rows_with_the_lists_energies(gscdb):
    with open(gscdb.folder / "diet.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert Counter(line["choice"] for line in lines) == {"30": 30, "100": 100, "150": 150}
    for line in lines:
        if line["row"]:
            listed = abs(float(line["reference"]))
            here = abs(gscdb.rows[gscdb.by_name[line["row"]]].reference) * HARTREE_TO_KCAL
            assert abs(here - listed) < max(0.6, 0.04 * listed), line
    assert [len(diet(gscdb, n)) for n in (30, 100, 150)] == [20, 70, 104]


def test_diet_totals_agree_with_published_ones(gscdb):
    """WTMAD-2 of all of GMTKN55: wB97X-V 3.98, wB97M-V 3.53, M06-2X-D3(0) 4.94."""
    for functional, published in (("wB97X-V", 3.98), ("wB97M-V", 3.53), ("M06-2X", 4.94)):
        errors = {r.name: gscdb.published_errors(i)[functional] for i, r in enumerate(gscdb.rows)}
        assert weighted_total(errors, weights(gscdb, 150)) == pytest.approx(published, rel=0.2)


def test_bare_particles():
    assert bare_particle("Be4+") == ("Be", 4) and bare_particle("Be2+") is None and bare_particle("H") is None
