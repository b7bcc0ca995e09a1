"""Charge and spin of ASE's atoms: from the calculator, ``atoms.info`` or initial values."""

import warnings

import pytest
from ase import Atoms
from ase.calculators.calculator import CalculatorSetupError
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
