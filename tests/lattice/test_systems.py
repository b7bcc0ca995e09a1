"""Systems: where nuclei are put, electrons and spins, the separations of the paper, misuse."""

import pickle

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.lattice import systems
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import FAMILIES, System, chain, h2, ion, lih


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.endswith("_like")])
def test_separations_of_the_paper_put_nuclei_on_points(family):
    for distance in systems.CURVE[family]:
        system = FAMILIES[family](distance)
        steps = [place / 0.08 for place in system.positions]
        assert steps == pytest.approx([round(step) for step in steps], abs=1e-9)
        assert abs(system.positions[0] + system.positions[-1]) < 0.081
        system.external_potential(Grid())  # inside


def test_odd_lengths_are_half_a_spacing_off_centre():
    assert h2(1.28).positions == pytest.approx((-0.64, 0.64))
    assert h2(0.40).positions == pytest.approx((-0.24, 0.16))
    assert h2(1.4).positions == pytest.approx((-0.7, 0.7))  # no multiple: off the points


def test_sets_of_the_paper():
    counts = {family: len(values) for family, values in systems.TEST.items()}
    assert counts == {"h2_plus": 52, "h2": 32, "h4": 28, "h2h2": 31}
    assert len(systems.CURVE["h2"]) == 72 and systems.TRAIN["h2"] == (1.28, 3.84)
    for family in FAMILIES:
        parts = [getattr(systems, part).get(family, ()) for part in ("TRAIN", "VALID", "TEST")]
        together = sum(parts, ())
        assert len(set(together)) == len(together)  # nothing is in two parts
        assert set(together) <= set(systems.CURVE[family])


@pytest.mark.parametrize(
    ("name", "electrons", "charge", "spin"),
    [
        ("h2_plus", 1, 1, 1),
        ("h2", 2, 0, 0),
        ("h3_plus", 2, 1, 0),
        ("h3", 3, 0, 1),
        ("h4", 4, 0, 0),
        ("h2h2", 4, 0, 0),
        ("heh_plus", 2, 1, 0),
        ("lih", 4, 0, 0),
        ("beh_plus", 4, 1, 0),
    ],
)
def test_electrons_of_the_families(name, electrons, charge, spin):
    system = FAMILIES[name](2.0)
    assert (system.electrons, sum(system.charges) - electrons, system.spin) == (electrons, charge, spin)
    assert system.up + system.down == electrons and system.up - system.down == spin


def test_ions():
    names = [
        FAMILIES[family](charge).name
        for family, charge in (
            ("hydrogen_like", 2),
            ("helium_like", 1),
            ("helium_like", 4),
            ("lithium_like", 3),
            ("beryllium_like", 5),
        )
    ]
    assert names == ["He+", "H-", "Be++", "Li", "B+"]
    assert ion(3, 3).spin == 1 and ion(2, 2, spin=2).up == 2


def test_symmetry():
    assert h2(1.4).symmetric and h2(0.4).symmetric and ion(3, 2).symmetric
    assert not lih(3.0).symmetric
    assert not System([0, 1, 3], [1, 1, 1], 2).symmetric


def test_repulsion_of_nuclei():
    # w(x) = 1.071295 exp(-|x| / 2.385345), by hand
    assert h2(2.385345).nuclear_repulsion() == pytest.approx(1.071295 / 2.718281828)
    assert lih(2.385345).nuclear_repulsion() == pytest.approx(3 * 1.071295 / 2.718281828)
    assert ion(4, 2).nuclear_repulsion() == 0


def test_systems_are_values_that_travel():
    system = h2(1.4)
    assert pickle.loads(pickle.dumps(system)) == system == h2(1.4)
    assert len({system, h2(1.4), h2(1.5)}) == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([0.0], [1, 1], 2), "charges"),
        (([], [], 1), "positions"),
        (([0.0], [-1], 1), "charges"),
        (([0.0], [0], 1), "charges"),
        (([float("nan")], [1], 1), "positions"),
        (([0.0], [float("inf")], 1), "charges"),
        (([0.0], [1], 0), "electrons"),
        (([0.0], [1], 1.5), "electrons"),
        (([0.0], [2], 2, 1), "spin"),
        (([0.0], [2], 2, 4), "spin"),
        (([0.0], [2], 2, -2), "spin"),
    ],
)
def test_impossible_systems(arguments, field):
    with pytest.raises(InputError) as caught:
        System(*arguments, name="it")
    assert (caught.value.field, caught.value.entry) == (field, "it") and caught.value.remedy


@pytest.mark.parametrize("distances", [[-1.0], [1.0, 1.0], [], [float("nan")]])
def test_impossible_chains(distances):
    with pytest.raises(InputError, match="distances"):
        chain([1, 1], distances, 2)
