"""Functionals that see the whole quadrature, in PySCF and in ASE."""

import pickle

import numpy as np
import pytest
from pyscf import dft, gto

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc import EnsembleXC, HybridXC
from tests.xc.toy import GatherXC

WATER = "O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5"
FUNCTIONALS = {
    "on the molecule's grid": lambda: HybridXC("pbe0", GatherXC(), aweight0=1.0),
    "on a grid of its own": lambda: HybridXC("r2scan", GatherXC(level=0), aweight0=1.0),
    "alone": lambda: EnsembleXC([GatherXC(), GatherXC(-0.01, 0.4, level=0)]),
}


def mole(charge=0):
    return gto.M(atom=WATER, unit="bohr", basis="6-31g", charge=charge, spin=charge, verbose=0)


def solver(charge, kind="rks"):
    mf = {"rks": dft.RKS, "uks": dft.UKS, "roks": dft.ROKS}[kind](mole(charge))
    mf.grids.level, mf.conv_tol = 1, 1e-12
    return mf


@pytest.mark.parametrize(
    ("name", "charge"), [*((n, 0) for n in FUNCTIONALS), *((n, 1) for n in list(FUNCTIONALS)[:2])]
)
def test_energy_and_forces_are_those_of_our_own_scf(name, charge):
    xc = FUNCTIONALS[name]()
    molecule = Molecule(WATER, "6-31g", charge=charge, spin=charge, grid_level=1)
    ours = KohnSham(molecule, xc, tol=1e-8).run()
    mf = to_pyscf(solver(charge, "uks" if charge else "rks"), xc)
    assert mf.kernel() == pytest.approx(ours.energy.item(), abs=1e-8)
    gradient = mf.nuc_grad_method().kernel()
    np.testing.assert_allclose(gradient, -ours.forces().numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["uks", "roks"])
def test_forces_are_finite_differences(kind):
    mf = to_pyscf(solver(1, kind), FUNCTIONALS["on a grid of its own"]())
    scanner, step = mf.as_scanner(), 1e-3
    coords = mole().atom_coords()
    mf.kernel()
    found = mf.nuc_grad_method().kernel()[1, 2]
    energies = []
    for sign in (1, -1, 2, -2):
        moved = coords.copy()
        moved[1, 2] += sign * step
        energies.append(scanner(mole(1).set_geom_(moved, unit="bohr")))
    slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * step)
    assert found == pytest.approx(slope, abs=1e-6)


def test_some_settings_of_the_grid_are_followed():
    xc = HybridXC("pbe", GatherXC(), aweight0=1.0)
    mf = solver(0)
    mf.grids.atom_grid = {"O": (40, 194), "H": (30, 110)}
    adapted = to_pyscf(mf, xc)
    adapted.kernel()
    rho = adapted._numint.get_rho(mf.mol, adapted.make_rdm1(), adapted.grids)
    field, matrices = adapted._numint.nonlocal_parts._field(mf.mol, adapted.grids, adapted.make_rdm1()[None])
    ours = (field.density_of_matrix(matrices)[0, 0] * field.weights).sum().item()
    assert ours == pytest.approx(rho @ adapted.grids.weights, rel=1e-10)


def test_several_density_matrices_at_once():
    xc = HybridXC("pbe", GatherXC(), aweight0=1.0)
    mf = to_pyscf(solver(0), xc)
    mf.kernel()
    dm = mf.make_rdm1()
    own = mf._numint
    pair = own.nr_rks(mf.mol, mf.grids, mf.xc, np.stack([dm, 0.9 * dm]))
    for k, scale in enumerate((1.0, 0.9)):
        alone = own.nr_rks(mf.mol, mf.grids, mf.xc, scale * dm)
        for both, one in zip(pair, alone, strict=True):
            np.testing.assert_allclose(both[k], one, rtol=1e-12, atol=1e-12)
    both = own.nr_uks(mf.mol, mf.grids, mf.xc, np.stack([dm, dm]) / 2)
    one = own.nr_rks(mf.mol, mf.grids, mf.xc, dm)
    assert both[1] == pytest.approx(one[1], rel=1e-12)
    np.testing.assert_allclose(both[2][0], one[2], atol=1e-12)


def test_a_twin_travels():
    mf = to_pyscf(solver(0), HybridXC("pbe", GatherXC(), aweight0=1.0))
    energy = mf.kernel()
    again = pickle.loads(pickle.dumps(mf))
    assert again.energy_tot() == pytest.approx(energy, abs=1e-10)


@pytest.mark.parametrize(
    "ask",
    [
        lambda mf: mf.newton().run(),
        lambda mf: mf.Hessian().kernel(),
        lambda mf: mf.TDDFT().run(),
        lambda mf: mf.stability(),
        lambda mf: mf.TDA().run(),
    ],
)
def test_responses_are_refused_by_name(ask):
    mf = to_pyscf(solver(0), HybridXC("pbe", GatherXC(), aweight0=1.0)).run()
    with pytest.raises(FunctionalError, match="GatherXC"):
        ask(mf)


def test_ghosts_and_other_partitions_are_refused():
    xc = HybridXC("pbe", GatherXC(), aweight0=1.0)
    mol = gto.M(atom="He 0 0 0; ghost-He 0 0 3", basis="6-31g", verbose=0)
    with pytest.raises(InputError, match="ghost"):
        to_pyscf(mol, xc).kernel()
    mf = solver(0)
    mf.grids.becke_scheme = dft.gen_grid.stratmann
    mf = to_pyscf(mf, xc).run()
    with pytest.raises(InputError, match="becke_scheme"):
        mf.nuc_grad_method().kernel()


def test_ase_runs_them():
    ase = pytest.importorskip("ase")
    from deepchem_dft.interop.ase import KohnShamCalculator

    xc = HybridXC("pbe", GatherXC(), aweight0=1.0)
    molecule = ase.Atoms("HF", [(0, 0, 0), (0, 0, 0.95)])
    molecule.calc = KohnShamCalculator(xc=xc, basis="sto-3g", grid_level=0, tol=1e-8)
    force, step = molecule.get_forces()[1, 2], 1e-3
    energies = []
    for sign in (1, -1):
        molecule.positions[1, 2] = 0.95 + sign * step
        energies.append(molecule.get_potential_energy())
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-3)
