"""Charge and spin of ASE's atoms: from the calculator, ``atoms.info`` or initial values."""

import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import CalculatorSetupError, PropertyNotPresent
from ase.io import read
from ase.units import Hartree
from pyscf import dft, gto

from deepchem_dft.interop.ase import KohnShamCalculator

SMALL = {"xc": "pbe", "basis": "sto-3g", "grid_level": 1}
WATER = [("O", (0, 0, 0.1173)), ("H", (0, 0.7572, -0.4692)), ("H", (0, -0.7572, -0.4692))]


def water(info=(), **options):
    atoms = Atoms([s for s, _ in WATER], [x for _, x in WATER])
    atoms.info.update(info)
    atoms.calc = KohnShamCalculator(**SMALL, **options)
    return atoms


def test_of_an_extended_xyz_file(tmp_path):
    rows = "\n".join(" ".join(map(str, (s, *x))) for s, x in WATER)
    (tmp_path / "c.xyz").write_text(
        f'3\nProperties=species:S:1:pos:R:3 charge=1 spin=1 pbc="F F F"\n{rows}\n'
    )
    atoms = read(tmp_path / "c.xyz")
    atoms.calc = KohnShamCalculator(**SMALL)
    mole = gto.M(atom=WATER, basis="sto-3g", charge=1, spin=1, verbose=0)
    cation = dft.UKS(mole, xc="pbe")
    cation.grids.level = 1
    assert atoms.get_potential_energy() / Hartree == pytest.approx(cation.kernel(), abs=2e-6)
    molecule = atoms.calc.result.molecule
    assert (molecule.charge, molecule.spin) == (1, 1)


@pytest.mark.parametrize(
    ("info", "charge", "spin"),
    [
        ({"charge": 1, "mult": 2}, 1, 1),
        ({"charge": 0, "spin_multiplicity": 3}, 0, 2),
        ({"total_charge": -1.0, "spin": 1.0}, -1, 1),
        ({"energy": -3, 7: 8}, 0, 0),
    ],
)
def test_spellings(info, charge, spin):
    molecule = water(info).calc._molecule(water(info))
    assert (molecule.charge, molecule.spin) == (charge, spin)


def test_info_that_changes_is_noticed():
    atoms = water()
    neutral = atoms.get_potential_energy()
    atoms.info.update(charge=1, mult=2)
    cation = atoms.get_potential_energy()
    assert cation - neutral > 5  # eV
    atoms.info.clear()
    assert atoms.get_potential_energy() == pytest.approx(neutral, abs=1e-6)


def test_the_calculator_is_right_and_a_difference_is_said():
    atoms = water({"charge": 1, "spin": 1}, charge=0, spin=0)
    with pytest.warns(UserWarning, match=r"charge 0 is used, not the charge 1 that atoms\.info"):
        molecule = atoms.calc._molecule(atoms)
    assert molecule.nelec == (5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms = water({"charge": 1}, charge=1, spin=1)
        assert atoms.calc._molecule(atoms).charge == 1


def test_contradictions_and_nonsense_are_refused():
    atoms = water({"charge": 1, "spin": 1})
    atoms.set_initial_charges([-0.4, 0.2, 0.2])
    with pytest.raises(CalculatorSetupError, match="charge 1 of atoms.info contradicts"):
        atoms.get_potential_energy()
    atoms.set_initial_charges([0.2, 0.4, 0.4])
    assert atoms.calc._molecule(atoms).charge == 1
    atoms.set_initial_magnetic_moments([3, 0, 0])
    with pytest.raises(CalculatorSetupError, match="spin 1 of atoms.info contradicts"):
        atoms.get_potential_energy()
    for info, problem in (
        ({"charge": 0.5}, "not a whole number"),
        ({"mult": 0}, "multiplicity"),
        ({"charge": 1, "spin": 2}, "cannot have spin 2"),
    ):
        with pytest.raises(CalculatorSetupError, match=problem):
            water(info).get_potential_energy()


def test_orbitals_and_charges_as_ase_names_them():
    """Of NO, beside PySCF's own field."""
    atoms = Atoms("NO", [(0, 0, 0), (0, 0, 1.15)])
    atoms.calc = KohnShamCalculator(**SMALL, spin=1)
    calc = atoms.calc
    with pytest.raises(PropertyNotPresent):
        calc.get_eigenvalues()
    charges = atoms.get_charges()
    mol = gto.M(atom="N 0 0 0; O 0 0 1.15", basis=SMALL["basis"], spin=1, verbose=0)
    field = dft.UKS(mol, xc=SMALL["xc"])
    field.grids.level = SMALL["grid_level"]
    field.conv_tol = 1e-11
    field.kernel()
    np.testing.assert_allclose(charges, field.mulliken_pop(verbose=0)[1], atol=1e-4)
    assert (calc.get_number_of_spins(), calc.get_spin_polarized()) == (2, True)
    assert calc.get_number_of_bands() == mol.nao and calc.get_ibz_k_points().shape == (1, 3)
    for spin in (0, 1):
        np.testing.assert_allclose(
            np.sort(calc.get_eigenvalues(spin=spin)),
            np.sort(field.mo_energy[spin]) * units.Hartree,
            atol=1e-2,
        )
        assert calc.get_occupation_numbers(spin=spin).sum() == pytest.approx(mol.nelec[spin])
    homo, lumo = calc.get_homo_lumo()
    assert homo == pytest.approx(field.mo_energy[field.mo_occ > 0].max() * units.Hartree, abs=1e-2)
    assert lumo == pytest.approx(field.mo_energy[field.mo_occ == 0].min() * units.Hartree, abs=1e-2)
    assert calc.get_fermi_level() == pytest.approx((homo + lumo) / 2)


def test_closed_shells_hold_two_electrons_in_an_orbital():
    atoms = Atoms("He", calculator=KohnShamCalculator(**SMALL))
    atoms.get_potential_energy()
    assert atoms.calc.get_occupation_numbers().sum() == 2 and atoms.calc.get_number_of_spins() == 1
    assert np.isinf(atoms.calc.get_homo_lumo()[1])  # one orbital in all


def test_a_calculator_starts_from_orbitals_that_were_written(tmp_path):
    def moved(shift, **options):
        atoms = Atoms("OH2", [(0, 0, 0.12 + shift), (0, 0.76, -0.47), (0, -0.76, -0.47)])
        atoms.calc = KohnShamCalculator(**SMALL, **options)
        return atoms, atoms.get_potential_energy()

    first, energy = moved(0.0)
    first.calc.write(tmp_path / "w.npz")
    again, same = moved(0.0, restart=tmp_path / "w.npz")
    assert same == pytest.approx(energy, abs=1e-6)
    assert again.calc.result.iterations <= 2 < first.calc.result.iterations
    fresh, there = moved(0.02)
    warm, also = moved(0.02, restart=str(tmp_path / "w.npz"))
    assert also == pytest.approx(there, abs=1e-5)
    assert warm.calc.result.iterations < fresh.calc.result.iterations
    with pytest.raises(CalculatorSetupError, match="orbitals of other atoms"):
        Atoms("He", calculator=KohnShamCalculator(**SMALL, restart=tmp_path / "w.npz")).get_potential_energy()
