"""The three schemas: what a valid file means, down to signs and units."""

import warnings

import numpy as np
import pytest

from deepchem_dft.data import check, read_yaml
from deepchem_dft.errors import InputError
from deepchem_dft.units import ANGSTROM_TO_BOHR, HARTREE_TO_EV, HARTREE_TO_KCAL


def by_name(path):
    return {entry.name: entry for entry in read_yaml(path)}


def test_deepchem_schema_keeps_deepchems_meaning(deepchem_file):
    lih, nitrogen, beh2, hydrogen = read_yaml(deepchem_file)
    # DeepChem: sum_i number_i E_i - 2 E_0
    assert lih.coefficients == [-1, 1, 1] and lih.entry_type == "ae"
    assert nitrogen.coefficients == [-1, 1] and nitrogen.get_weight() == 1340
    assert beh2.coefficients == [-1, 2, 1]
    assert hydrogen.coefficients == [-1]
    assert lih.get_true_val().shape == (1,) and lih.get_true_val()[0] == 0.09194410469
    assert [s.spin for s in nitrogen.get_systems()] == [3, 2]
    assert [s.charge for s in nitrogen.get_systems()] == [0, 1]
    assert beh2.get_systems()[1].no == 2
    np.testing.assert_allclose(lih.get_systems()[0].positions, [[1.507, 0, 0], [-1.507, 0, 0]])
    assert len({e.name for e in (lih, nitrogen, beh2, hydrogen)}) == 4


def test_generated_names_are_numbered(write):
    he = "{moldesc: He 0 0 0, basis: sto-3g}"
    item = (
        f"- {{e_type: ie, true_val: 0.9, systems: [{he}, "
        "{moldesc: He 0 0 0, basis: sto-3g, charge: 1, spin: 1}]}\n"
    )
    assert [e.name for e in read_yaml(write(item * 3))] == ["ie-He", "ie-He-2", "ie-He-3"]


def test_xcnn_schema(xcnn_file):
    entries = by_name(xcnn_file)
    assert entries["Ionization energy of N"].coefficients == [-1, 1]
    assert entries["Ionization energy of H"].coefficients == [-1]
    ammonia = entries["Atomization energy of NH3"]
    assert ammonia.coefficients == [-1, 1, 3] and ammonia.get_true_val()[0] == 0.4741
    assert "nist" in entries["Ionization energy of N"].source
    matrix, profile = entries["Density matrix of He"], entries["Density profile of He"]
    assert (matrix.entry_type, profile.entry_type) == ("dm", "dens")
    assert matrix.is_ccsd and profile.is_ccsd and not matrix.is_energy


def test_native_schema(native_file):
    entries = by_name(native_file)
    water = entries["water"]
    assert water.coefficients == [2, -1, 1]  # H, H2O, O: the molecule is found by its atoms
    assert water.get_true_val()[0] == pytest.approx(232.6 / HARTREE_TO_KCAL, abs=1e-15)
    assert [s.spin for s in water.get_systems()] == [1, 0, 2]  # ground states of H and O
    assert water.source == "made up" and water.tags == {"multireference": False}
    np.testing.assert_allclose(
        water.get_systems()[1].positions[1], np.array([0, 0.7572, -0.4692]) * ANGSTROM_TO_BOHR
    )
    no = entries["NO"]
    assert no.get_true_val()[0] == 0.2432 and no.source == "another" and no.split == "test"
    assert [(s.name, s.spin, s.no) for s in no.get_systems()] == [("NO", 1, 1), ("N", 3, 1), ("O", 2, 1)]
    lithium = entries["Li"]
    charges = [s.charge for s in lithium.get_systems()]
    assert dict(zip(charges, lithium.coefficients, strict=True)) == {1: 1.0, 0: -1.0}
    assert lithium.get_true_val()[0] == pytest.approx(5.3917 / HARTREE_TO_EV)
    fluorine = entries["F"]  # positive when bound: neutral minus anion
    charges = [s.charge for s in fluorine.get_systems()]
    assert dict(zip(charges, fluorine.coefficients, strict=True)) == {0: 1.0, -1: -1.0}
    bond = entries["bond"]
    assert bond.coefficients == [1, 1, -1] and bond.get_weight() == 2
    carbon = entries["carbon"].get_systems()[0]
    assert carbon.nelec == (3.5, 2.0) and carbon.charge == 0.5 and carbon.spin == 1.5
    assert entries["density"].grid_level == 1


def test_roles_do_not_depend_on_order(write):
    text = """
    format: deepchem_dft/1
    defaults: {basis: sto-3g}
    systems:
      n: {geometry: N 0 0 0}
      n+: {geometry: N 0 0 0, charge: 1, spin: 2}
    entries:
    - {name: a, type: ie, value: 0.5, systems: [n, n+]}
    - {name: b, type: ie, value: 0.5, systems: [n+, n]}
    """
    a, b = read_yaml(write(text))
    assert a.coefficients == [-1, 1] and b.coefficients == [1, -1]


def test_the_norway_problem_does_not_exist(write):
    text = """
    format: deepchem_dft/1
    defaults: {basis: sto-3g}
    systems:
      NO: {geometry: N 0 0 0; O 0 0 2.175, spin: 1}
      y: He 0 0 0
      on: {geometry: He 0 0 0}
      1: {geometry: Ne 0 0 0}
    entries:
    - {name: NO, type: energy, value: -129.0, molecule: NO}
    - {name: No, type: energy, value: -2.9, molecule: y}
    - {name: off, type: energy, value: -29e-1, molecule: on}
    - {name: 12, type: energy, value: -128, molecule: 1}
    """
    assert [e.name for e in read_yaml(write(text))] == ["NO", "No", "off", "12"]


def test_anchors_and_merge_keys(write):
    text = """
    - &ie
      e_type: ie
      true_val: 0.5
      systems: &h [{moldesc: H 0 0 0, basis: sto-3g, spin: 1}]
    - <<: *ie
      weight: 3
    """
    first, second = read_yaml(write(text))
    assert first.get_systems() == second.get_systems()
    assert (first.get_weight(), second.get_weight()) == (1, 3)


def test_second_ionisation_and_anion_are_not_confused(write):
    text = """
    format: deepchem_dft/1
    defaults: {basis: sto-3g}
    systems:
      Be+: {geometry: Be 0 0 0, charge: 1, spin: 1}
      Be++: {geometry: Be 0 0 0, charge: 2, spin: 0}
    entries: [{name: second, type: ie, value: 0.67, systems: [Be++, Be+]}]
    """
    (entry,) = read_yaml(write(text))
    assert entry.coefficients == [1, -1]


def test_fractional_coefficients_and_elements_beyond_the_named_systems(write):
    text = """
    format: deepchem_dft/1
    defaults: {basis: sto-3g, type: reaction, split: train}
    systems: {p4: {geometry: P 0 0 0; P 4.18 0 0; P 2.09 3.62 0; P 2.09 1.21 3.41}}
    entries: [{value: 0.12, coefficients: {P: 1, p4: -0.25}}]
    """
    (entry,) = read_yaml(write(text))
    assert entry.coefficients == [1, -0.25] and entry.split == "train"
    assert entry.get_systems()[0].spin == 3


def test_ionisation_of_one_electron_atoms_needs_one_system(write):
    head = "format: deepchem_dft/1\ndefaults: {basis: sto-3g}\nentries:\n"
    text = head + "- {type: ie, value: 0.5, neutral: H}\n- {type: ie, value: 0.5, systems: [H]}\n"
    assert [e.coefficients for e in read_yaml(write(text))] == [[-1], [-1]]


ANIONS = """
format: deepchem_dft/1
defaults: {{basis: {basis}}}
systems: {{Cl-: {{geometry: Cl 0 0 0, charge: -1, spin: 0}}}}
entries:
- {{name: a, type: ea, value: 0.133, neutral: Cl, anion: Cl-}}
- {{name: b, type: ea, value: 0.132, neutral: Cl, anion: Cl-}}
"""


def test_anions_without_diffuse_functions_are_warned_about_once_per_file(write):
    with pytest.warns(UserWarning, match="diffuse") as caught:
        read_yaml(write(ANIONS.format(basis="def2-svp")))
    assert len(caught) == 1 and "a, b" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_yaml(write(ANIONS.format(basis="aug-cc-pvdz")))


def test_values_in_the_wrong_unit_are_warned_about(write):
    text = "- {e_type: ie, true_val: 13.6, systems: [{moldesc: H 0 0 0, basis: sto-3g, spin: 1}]}"
    with pytest.warns(UserWarning, match="unit"):
        read_yaml(write(text))


def test_valid_files_have_no_problems(all_files):
    assert check(all_files) == []


def test_check_lists_every_problem_once(write):
    text = """
    format: deepchem_dft/1
    defaults: {basis: sto-3g}
    systems:
      bad: {geometry: H 0 0 0, spin: 2}
      unused: {geometry: Xx 0 0 0}
    entries:
    - {name: one, type: energy, value: 1, molecule: bad}
    - {name: two, type: energy, value: 1, molecule: bad}
    - {name: three, type: energy, value: abc, molecule: He}
    - {name: four, type: energy, value: -2.9, molecule: He}
    """
    path = write(text)
    problems = check(path)
    assert [(p.entry, p.field) for p in problems] == [
        ("1 (one)", "systems.bad.spin"),
        ("3 (three)", "value"),
        (None, "systems.unused.geometry"),
    ]
    assert all(p.file == path and p.remedy for p in problems)
    with pytest.raises(InputError) as error:
        read_yaml(path)
    assert str(error.value) == str(problems[0])


def test_values_may_carry_every_unit(write):
    lines = "".join(
        f"- {{name: {i}, type: energy, value: '{text}', molecule: He}}\n"
        for i, text in enumerate(
            ["-2.9", "-2.9 Ha", "-2900 mHa", "-78.9 eV", "-1819.8kcal/mol", "-7614 kJ/mol"]
        )
    )
    head = "format: deepchem_dft/1\ndefaults: {basis: sto-3g}\nentries:\n"
    values = [e.get_true_val()[0] for e in read_yaml(write(head + lines))]
    np.testing.assert_allclose(values, -2.9, rtol=2e-4)


def _reaction(coefficients, systems="{oh: {geometry: O 0 0 0; H 0 0 1.83, charge: -1}, water: W}"):
    water = "O 0 0 0; H 0 1.43 1.11; H 0 -1.43 1.11"
    return (
        f"format: deepchem_dft/1\ndefaults: {{basis: aug-cc-pvdz}}\n"
        f"systems: {systems.replace('W', repr(water))}\n"
        f"entries: [{{name: r, type: reaction, value: 0.6, coefficients: {coefficients}}}]\n"
    )


def test_reactions_set_electrons_and_protons_free(tmp_path):
    """Deprotonation, and detachment of an electron written as a reaction: both balance, and read as such."""
    path = tmp_path / "free.yaml"
    path.write_text(_reaction("{oh: 1, H+: 1, water: -1}"))
    (entry,) = read_yaml(path)
    assert entry.coefficients == [1.0, -1.0] and entry.bare == {"H+": 1.0}
    assert "E(HO-) - E(H2O) + H+" in repr(entry)
    path.write_text(_reaction("{H: 1, O: 1, e-: 1, oh: -1}"))
    (entry,) = read_yaml(path)
    assert entry.bare == {"e-": 1.0} and len(entry.get_systems()) == 3


@pytest.mark.parametrize(
    ("coefficients", "problem"),
    [
        ("{oh: 1, water: -1}", "1 H missing"),
        ("{oh: 1, H: 1, water: -1}", "charges are not balanced: they add up to -1"),
        ("{oh: 1, H+: 2, water: -1}", "1 H too many"),
        ("{oh: 1, H+: 1, e-: 1, water: -1}", "charges are not balanced: they add up to -1"),
        ("{oh: 1, He+: 1, water: -1}", "no system 'He+'"),
        ("{e-: 1, H+: 1}", "has no systems"),
    ],
)
def test_free_particles_are_counted(tmp_path, coefficients, problem):
    path = tmp_path / "free.yaml"
    path.write_text(_reaction(coefficients))
    with pytest.raises(InputError, match=problem.replace("+", r"\+")):
        read_yaml(path)
