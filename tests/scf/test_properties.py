"""Energy terms, charges and moments of a density, against PySCF's own at the same density."""

import numpy as np
import pytest
import torch
from pyscf import dft, gto, lo
from pyscf.scf import hf

from deepchem_dft import KohnSham, Molecule

WATER = "O 0 0 0.2; H 0 1.43 -0.9; H 0.1 -1.43 -0.9"
CASES = {
    "cation": (WATER, "6-31g", 1, 1, None),
    "cores": ("H 0 0 0.3; I 0 0.1 3.3", "def2-svp", 0, 0, "def2-svp"),
}


@pytest.fixture(scope="module", params=CASES)
def both(request):
    """Our result, and PySCF's field with the same density matrices."""
    geometry, basis, charge, spin, ecp = CASES[request.param]
    result = KohnSham(Molecule(geometry, basis, charge, spin, grid_level=0), "pbe0").run()
    mol = gto.M(atom=geometry, basis=basis, ecp=ecp, unit="Bohr", charge=charge, spin=spin, verbose=0)
    field = dft.UKS(mol, xc="pbe0")
    return result, field, result.density_matrix.numpy()


def test_energy_terms(both):
    result, field, density = both
    total, mol = density.sum(0), field.mol
    terms = result.energy_terms
    assert terms["kinetic"] == pytest.approx(np.sum(total * mol.intor("int1e_kin")), abs=1e-9)
    attraction = hf.get_hcore(mol) - mol.intor("int1e_kin")
    assert terms["nuclear_attraction"] == pytest.approx(np.sum(total * attraction), abs=1e-9)
    assert terms["coulomb"] == pytest.approx(0.5 * np.sum(total * hf.get_jk(mol, total)[0]), abs=1e-8)
    assert terms["nuclear_repulsion"] == pytest.approx(mol.energy_nuc(), abs=1e-9)
    assert sum(terms.values()) == pytest.approx(result.energy.item(), abs=1e-9)


def test_charges(both):
    result, field, density = both
    mol = field.mol
    expected = mol.atom_charges() - hf.mulliken_pop(mol, density.sum(0), verbose=0)[0].reshape(-1) @ _owner(
        mol
    )
    assert np.allclose(result.charges(), expected, atol=1e-9)
    root = np.linalg.inv(lo.orth.lowdin(mol.intor("int1e_ovlp")))  # S^(1/2)
    for power, kind in ((mol.intor("int1e_ovlp"), "mulliken"), (None, "loewdin")):
        spin = density[0] - density[1]
        share = np.diag(spin @ power) if power is not None else np.diag(root @ spin @ root)
        assert np.allclose(result.spin_populations(kind), share @ _owner(mol), atol=1e-9)
    share = np.diag(root @ density.sum(0) @ root)
    assert np.allclose(result.charges("loewdin"), mol.atom_charges() - share @ _owner(mol), atol=1e-9)
    assert float(result.charges("loewdin").sum()) == pytest.approx(mol.charge, abs=1e-9)
    assert float(result.spin_populations().sum()) == pytest.approx(mol.spin, abs=1e-9)


def _owner(mol) -> np.ndarray:
    """One where a function belongs to an atom, shape (nao, natom)."""
    atoms = np.array([label[0] for label in mol.ao_labels(fmt=None)])
    return (atoms[:, None] == np.arange(mol.natm)).astype(float)


def test_quadrupole(both):
    result, field, density = both
    for origin in ([0.0, 0.0, 0.0], [0.3, -1.0, 0.5]):
        expected = hf.quad_moment(field.mol, density, "AU", np.array(origin), verbose=0)
        assert np.allclose(result.quadrupole(origin), expected, atol=1e-8)
    masses = field.mol.atom_mass_list(isotope_avg=True)
    centre = masses @ field.mol.atom_coords() / masses.sum()
    expected = hf.quad_moment(field.mol, density, "AU", centre, verbose=0)
    assert np.allclose(result.quadrupole(), expected, atol=1e-8)


def test_of_a_trained_functional_they_are_differentiable():
    from deepchem_dft.xc import HybridXC, build_network

    net = build_network(family="lda", hidden=[4], output="lda_exchange", zero_last=False, seed=1)
    h2 = Molecule("H 0 0 0; F 0 0 1.8", "sto-3g", grid_level=0)
    result = KohnSham(h2, HybridXC("lda,pw", net, aweight0=0.1), tol=1e-9).run()
    (slope,) = torch.autograd.grad(result.charges()[0], [next(net.parameters())])
    assert bool(slope.abs().sum() > 0)


def test_every_iteration_is_told():
    told = []
    result = KohnSham(Molecule(WATER, "sto-3g", grid_level=0), "pbe").run(on_iteration=told.append)
    assert [step.number for step in told] == list(range(1, len(told) + 1))
    assert [step.residual for step in told] == result.history
    assert told[-1].energy == pytest.approx(result.energy.item(), abs=1e-12)
    changes = np.diff([step.energy for step in told])
    assert np.isnan(told[0].change) and np.allclose([step.change for step in told[1:]], changes, atol=1e-12)
    assert all(a.cpu_seconds <= b.cpu_seconds for a, b in zip(told, told[1:], strict=False))
    assert result.cpu_seconds >= told[-1].cpu_seconds > 0
