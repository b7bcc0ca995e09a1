"""A functional's own dispersion in PySCF's programs and in ASE."""

import numpy as np
import pytest
import torch
from pyscf import gto

from deepchem_dft.errors import InputError
from deepchem_dft.interop.ase import KohnShamCalculator
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc import Dispersion, Libxc, get_xc
from deepchem_dft.xc.dispersion import Nuclei

GEOMETRY = "F 0 0 0; H 0 0 1.75; He 0.3 0 5.4"
NUCLEI = Nuclei.of([9, 1, 2], [[0, 0, 0], [0, 0, 1.75], [0.3, 0, 5.4]])
OWN = {"s6": 0.9, "s8": 1.3, "s9": 0.7, "a1": 0.31, "a2": 3.9}


@pytest.fixture(scope="module")
def mol():
    return gto.M(atom=GEOMETRY, unit="bohr", basis="sto-3g", verbose=0)


def solved(mf):
    mf.grids.level, mf.conv_tol = 0, 1e-12
    mf.kernel()
    return mf


@pytest.mark.parametrize(
    ("ours", "theirs", "disp"), [("pbe+d3bj", "pbe", "d3bj"), ("b3lyp+d4", "b3lyp", "d4")]
)
def test_energy_gradient_and_hessian_are_those_of_disp(mol, ours, theirs, disp):
    adapted, plain = solved(to_pyscf(mol, ours)), to_pyscf(mol, theirs)
    plain.disp = disp
    solved(plain)
    assert adapted.e_tot == pytest.approx(plain.e_tot, abs=1e-10)
    assert adapted.scf_summary["dispersion"] == pytest.approx(plain.scf_summary["dispersion"], abs=1e-14)
    assert abs(adapted.scf_summary["dispersion"]) > 1e-6
    gradients = [mf.nuc_grad_method().kernel() for mf in (adapted, plain)]
    np.testing.assert_allclose(*gradients, atol=1e-9)
    # PySCF's own is from differences of 1e-5 Bohr
    hessians = [mf.Hessian().kernel() for mf in (adapted, plain)]
    np.testing.assert_allclose(*hessians, atol=1e-8)
    newton = adapted.newton()
    assert newton.kernel() == pytest.approx(adapted.e_tot, abs=1e-9)
    np.testing.assert_allclose(adapted.density_fit().run().scf_summary["dispersion"], plain.get_dispersion())


def test_parameters_of_its_own(mol):
    functional = Libxc("pbe")
    functional.dispersion = Dispersion("d4", **OWN)
    adapted, plain = solved(to_pyscf(mol, functional)), solved(to_pyscf(mol, "pbe"))
    (energy,) = functional.dispersion_at([NUCLEI])()
    assert adapted.e_tot - plain.e_tot == pytest.approx(energy.item(), abs=1e-10)
    result = KohnSham(Molecule(GEOMETRY, "sto-3g", grid_level=0), functional, tol=1e-8).run()
    assert result.energy_terms["dispersion"] == pytest.approx(energy.item(), abs=1e-14)
    moved = mol.copy()
    moved.set_geom_(mol.atom_coords() + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.3]]), unit="bohr")
    closer = adapted.nuc_grad_method().as_scanner()(moved)[0]
    assert closer == pytest.approx(solved(to_pyscf(moved, functional)).e_tot, abs=1e-9)


def test_ghost_atoms_have_none():
    ghost = gto.M(atom="F 0 0 0; H 0 0 1.75; ghost-He 0.3 0 5.4", unit="bohr", basis="sto-3g", verbose=0)
    adapted = solved(to_pyscf(ghost, "pbe+d4"))
    alone = get_xc("pbe+d4").dispersion.energy(Nuclei.of(NUCLEI.numbers[:2], NUCLEI.positions[:2]))
    assert adapted.scf_summary["dispersion"] == pytest.approx(alone.item(), abs=1e-14)
    assert adapted.nuc_grad_method().get_dispersion()[2].tolist() == [0.0, 0.0, 0.0]


def test_two_dispersions_are_refused(mol):
    adapted = to_pyscf(mol, "pbe+d4")
    adapted.disp = "d3bj"
    with pytest.raises(InputError, match="would be added to that of the functional"):
        adapted.kernel()


def test_ase():
    from ase import Atoms
    from ase.units import Bohr, Hartree

    molecule = Molecule(GEOMETRY, "sto-3g", grid_level=0)
    atoms = Atoms(molecule.symbols, molecule.positions * Bohr)
    found = []
    for xc in ("pbe+d3bj", "pbe"):
        atoms.calc = KohnShamCalculator(xc=xc, basis="sto-3g", grid_level=0, tol=1e-8)
        found.append((atoms.get_potential_energy() / Hartree, atoms.get_forces() * Bohr / Hartree))
    term = get_xc("pbe+d3bj").dispersion
    assert found[0][0] - found[1][0] == pytest.approx(term.energy(NUCLEI).item(), abs=1e-9)
    difference = torch.from_numpy(found[0][1] - found[1][1])
    assert torch.allclose(difference, -term.gradient(NUCLEI), atol=1e-7)
