"""Fitted densities and bounded memory: energies and forces against PySCF, whatever is kept."""

import numpy as np
import pytest
from pyscf import dft

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham


def pyscf_solver(molecule: Molecule, xc: str, result, auxbasis):
    """PySCF with the same grid and fitting basis, converged from our density."""
    mole = molecule.pyscf_mol.copy()
    mole.charge, mole.spin = molecule.charge, molecule.spin
    mole.build()
    solver = (dft.RKS(mole) if result.restricted else dft.UKS(mole)).density_fit(auxbasis=auxbasis)
    solver.xc, solver.grids.level, solver.conv_tol = xc, molecule.grid_level, 1e-11
    density = result.density_matrix.detach().numpy()
    solver.kernel(density.sum(0) if result.restricted else density)
    assert solver.converged
    return solver


@pytest.mark.parametrize(
    ("name", "xc", "auxbasis"),
    [
        ("H2O", "lda,pw", "weigend"),
        ("H2O", "pbe", "def2-universal-jkfit"),
        ("H2O", "b3lyp", "def2-svp-jkfit"),
        ("NO", "camb3lyp", "def2-svp-jkfit"),
        ("CH2", "b3lyp", "def2-universal-jkfit"),
    ],
)
def test_energies_and_forces_equal_pyscf_with_the_same_fitting_basis(make, name, xc, auxbasis):
    molecule = make(name, basis="def2-svp", density_fit=auxbasis)
    result = KohnSham(molecule, xc, tol=1e-8).run()
    solver = pyscf_solver(molecule, xc, result, auxbasis)
    assert result.energy.item() == pytest.approx(solver.e_tot, abs=1e-8)
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    assert result.forces().numpy() == pytest.approx(-gradient.kernel(), abs=2e-6)


def test_default_is_pyscfs_for_hybrids_and_close_to_exact(make):
    fitted, exact = (make("H2O", density_fit=choice) for choice in (True, False))
    results = [KohnSham(molecule, "b3lyp", tol=1e-7).run() for molecule in (fitted, exact)]
    mole = fitted.pyscf_mol.copy()
    mole.basis = "6-31g*"  # the name, from which PySCF chooses
    solver = dft.RKS(mole).set(xc="b3lyp").density_fit()
    solver.grids.level = fitted.grid_level
    solver.kernel()
    assert results[0].energy.item() == pytest.approx(solver.e_tot, abs=1e-8)
    assert 1e-7 < abs(results[0].energy.item() - results[1].energy.item()) < 3e-4


@pytest.mark.parametrize(
    ("name", "parent", "family"),
    [("H2O", "pbe", "mgga"), ("H2O+", "b3lyp", "gga"), ("LiH", "camb3lyp", "gga")],
)
def test_forces_are_minus_the_energy_derivative(make, neural, check_forces, name, parent, family):
    check_forces(make(name, density_fit=True), neural(parent, family), places=[(1, 2)])


@pytest.mark.parametrize("parent", ["pbe", "camb3lyp"])
def test_nothing_but_time_depends_on_the_memory(make, neural, monkeypatch, parent):
    """Energies, their gradients and response properties with all in memory and with nothing."""
    functional, found = neural(parent, "gga"), []
    for limit in ("1", "0.00001"):
        monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", limit)
        molecule = make("LiH", density_fit=True)
        molecule.release()
        result = KohnSham(molecule, functional, tol=1e-8).run()
        functional.zero_grad()
        (result.energy + result.dipole[2]).backward()
        slopes = np.concatenate([p.grad.numpy().ravel() for p in functional.parameters()])
        found.append((result.energy.item(), slopes, result.forces().numpy()))
        held = [v.nbytes for k, v in molecule._constants._large.items() if k.startswith("fit")]
        streamed = limit != "1"
        assert all((size == 0) == streamed for size in held)
        assert (molecule.grid._constants.held("ao1") is None) == streamed
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=1e-8)


def alkane(carbons: int) -> tuple[list[str], np.ndarray]:
    """A zigzag chain, Angstrom."""
    symbols, positions = [], []
    for i in range(carbons):
        side = 1 if i % 2 else -1
        centre = np.array([1.268 * i, 0.0, 0.428 * side])
        hydrogens = [[0, y, 0.648 * side] for y in (0.876, -0.876)]
        hydrogens += [[d, 0, -0.61 * side] for d, end in ((-0.904, 0), (0.904, carbons - 1)) if i == end]
        symbols += ["C"] + ["H"] * len(hydrogens)
        positions += [centre, *(centre + np.array(h) for h in hydrogens)]
    return symbols, np.array(positions)


@pytest.mark.parametrize(
    ("carbons", "xc", "level"),
    [
        (6, "pbe", 0),
        pytest.param(10, "lda,pw", 1, marks=pytest.mark.slow),
        pytest.param(10, "pbe", 1, marks=pytest.mark.slow),
    ],
)
def test_leaving_out_negligible_orbitals_changes_no_energy(carbons, xc, level):
    """PySCF evaluates and multiplies all of them, on the same points in another order."""
    molecule = Molecule(
        alkane(carbons), basis="6-31g", unit="angstrom", grid_level=level, density_fit="weigend"
    )
    result = KohnSham(molecule, xc).run()
    kept = [1.0 if b.columns is None else len(b.columns) / molecule.nao for b in molecule.grid.blocks(0)]
    assert np.mean(kept) < 0.9
    solver = dft.RKS(molecule.pyscf_mol).density_fit(auxbasis="weigend")
    solver.xc, solver.grids.level = xc, level
    solver.small_rho_cutoff = 0.0
    energy = solver.energy_tot(dm=result.density_matrix.detach().sum(0).numpy())
    assert result.energy.item() == pytest.approx(energy, abs=1e-8)
