"""Density fitting: which basis, the same matrices as the fitted integrals, identity."""

import pickle

import numpy as np
import pytest
import torch
from pyscf import df

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule, fitting, integrals

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


@pytest.fixture
def fitted():
    return Molecule(WATER, basis="6-31g", grid_level=1, density_fit="def2-universal-jkfit")


def fitted_integrals(molecule: Molecule) -> np.ndarray:
    """(ij|kl) from the fit, written out: sum over P, Q of (ij|P) (P|Q)^-1 (Q|kl)."""
    auxiliary = df.addons.make_auxmol(molecule.pyscf_mol, molecule.fitting.data)
    three = df.incore.aux_e2(molecule.pyscf_mol, auxiliary)
    n = len(three)
    fit = np.linalg.solve(auxiliary.intor("int2c2e"), three.reshape(n * n, -1).T)
    return (three.reshape(n * n, -1) @ fit).reshape(n, n, n, n)


def test_matrices_are_those_of_the_fitted_integrals(fitted):
    eri = fitted_integrals(fitted)
    dms = torch.randn(
        2, fitted.nao, fitted.nao, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    dms = dms + dms.mT  # neither positive nor of low rank
    j = np.einsum("ijkl,nkl->nij", eri, dms.numpy())
    k = np.einsum("ikjl,nkl->nij", eri, dms.numpy())
    both = fitted.coulomb_exchange(dms)
    for ours, reference in ((fitted.coulomb(dms), j), (both[0], j), (fitted.exchange(dms), k), (both[1], k)):
        assert ours.numpy() == pytest.approx(reference, rel=1e-9, abs=1e-9)


def test_long_range_exchange_is_that_of_exact_integrals(water, fitted):
    """The long-range operator is smooth, so that the fit is nearly exact."""
    density = water.starting_density
    exact = water.exchange(density, omega=0.33)
    assert torch.allclose(fitted.exchange(density, omega=0.33), exact, atol=1e-6)
    assert not torch.allclose(water.exchange(density), exact, atol=1e-2)


@pytest.mark.parametrize("omega", [None, 0.33])
def test_orbitals_and_their_density_give_the_same_exchange(fitted, omega):
    occupied = [torch.randn(fitted.nao, n, dtype=torch.float64) for n in (3, 0)]
    dms = torch.stack([c @ c.mT for c in occupied])
    assert torch.allclose(fitted.exchange(dms, omega, occupied), fitted.exchange(dms, omega))


@pytest.mark.parametrize(
    ("name", "warned"), [("weigend", True), ("def2-universal-JFIT", True), ("def2-universal-jkfit", False)]
)
def test_exchange_in_a_basis_for_coulomb_energies_is_a_warning(name, warned, recwarn):
    molecule = Molecule(WATER, basis="6-31g", density_fit=name)
    molecule.coulomb(molecule.overlap)
    assert not recwarn.list
    molecule.exchange(molecule.overlap)
    assert [w.category for w in recwarn.list] == [UserWarning] * warned


def test_zero_matrices_are_no_trouble(fitted):
    for matrix in fitted.coulomb_exchange(torch.zeros(fitted.nao, fitted.nao, dtype=torch.float64)):
        assert not matrix.any()


def test_a_linearly_dependent_fitting_basis_works():
    data = df.addons.aug_etb(Molecule(WATER, basis="6-31g").pyscf_mol)
    doubled = {symbol: [*shells, *shells] for symbol, shells in data.items()}
    once, twice = (Molecule(WATER, basis="6-31g", density_fit=basis) for basis in (data, doubled))
    assert twice.fitting.size == 2 * once.fitting.size
    density = once.starting_density
    assert torch.allclose(once.coulomb(density), twice.coulomb(density), atol=1e-6)


def test_size_decides_unless_told(monkeypatch):
    assert fitting.FIT_ABOVE == 180 and "180 orbitals" in " ".join(Molecule.__doc__.split())
    nao = Molecule(WATER, basis="6-31g").nao
    monkeypatch.setattr(fitting, "FIT_ABOVE", nao)
    assert Molecule(WATER, basis="6-31g").fitting is None
    monkeypatch.setattr(fitting, "FIT_ABOVE", nao - 1)
    assert Molecule(WATER, basis="6-31g").fitting is not None
    assert Molecule(WATER, basis="6-31g", density_fit=False).fitting is None


@pytest.mark.parametrize(
    ("symbol", "basis", "name"),
    [
        ("O", "def2-SVP", "def2-svp-jkfit"),
        ("O", "6-311++G(3df,3pd)", "aug-cc-pvtz-jkfit"),
        ("O", "unc-sto-3g", "even-tempered functions"),
        ("O", {"O": "cc-pvtz"}, "cc-pvtz-jkfit"),
        ("Na", "cc-pvdz", "even-tempered functions"),
        ("I", "def2-tzvp", "def2-tzvp-jkfit"),
    ],
)
def test_default_is_what_pyscf_chooses_for_exact_exchange(symbol, basis, name):
    molecule = Molecule(f"{symbol} 0 0 0", basis=basis, nelec=(3.0, 3.0), density_fit=True)
    assert molecule.fitting.name == name
    mole = molecule.pyscf_mol.copy()
    mole.basis = {symbol: basis[symbol] if isinstance(basis, dict) else basis}
    assert molecule.fitting.size == df.addons.make_auxmol(mole, df.make_auxbasis(mole)).nao_nr()


@pytest.mark.parametrize(
    ("density_fit", "match", "remedy"),
    [
        ("weigand", "unknown basis 'weigand'", "True"),
        (3, "must be a name", "True"),
        ({"O": "weigend"}, "no basis for element H", "True"),
        ("cc-pvdz-jkfit", "no functions for Na", "True"),
        ("def2-tzvp", "a basis for orbitals", "def2-tzvp-jkfit"),
    ],
)
def test_what_is_no_fitting_basis_is_refused(density_fit, match, remedy):
    with pytest.raises(InputError, match=match) as caught:
        Molecule("O 0 0 0; Na 0 0 4; H 0 0 -2", basis="6-31g", density_fit=density_fit)
    assert caught.value.field == "density_fit" and remedy in caught.value.remedy


def test_exact_and_fitted_molecules_share_what_is_the_same(water, fitted):
    other = Molecule(WATER, basis="6-31g", grid_level=1, density_fit="weigend")
    assert len({water.key, fitted.key, other.key}) == 3
    assert water.constants_key == fitted.constants_key
    assert fitted.overlap is water.overlap and fitted.grid.blocks(1) is water.grid.blocks(1)
    exact, first, second = (m.coulomb(water.starting_density) for m in (water, fitted, other))
    assert 1e-6 < (first - exact).abs().max() < 3e-3
    assert 1e-6 < (second - exact).abs().max() < 3e-3
    assert not torch.equal(first, second)
    fitted.exchange(water.overlap, omega=0.3)
    parts = set(water._constants._large)
    assert len(parts) == 4 and "eri" in parts  # two bases, and one of them long-range


def test_the_choice_survives_pickling_and_is_shown(water, fitted):
    density = fitted.starting_density
    matrix = fitted.coulomb(density)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.fitting == fitted.fitting and again.key == fitted.key
    assert torch.equal(again.coulomb(density), matrix)
    assert "def2-universal-jkfit" in repr(fitted) and "fit" not in repr(water)


@pytest.mark.parametrize("density_fit", [False, "def2-svp-jkfit"])
@pytest.mark.parametrize("omega", [None, 0.4])
def test_derivatives_are_those_of_the_energy_at_fixed_density(density_fit, omega):
    def molecule(positions):
        return Molecule((["O", "H", "H"], positions), basis="6-31g", density_fit=density_fit)

    here = molecule(Molecule(WATER).positions)
    density = here.starting_density
    atom, axis, step, energies = 1, 2, 1e-3, []
    for sign in (1, -1):
        moved = here.positions.copy()
        moved[atom, axis] += sign * step
        there = molecule(moved)
        matrix = there.coulomb(density) if omega is None else there.exchange(density, omega)
        energies.append(0.5 * float((density * matrix).sum()))
    data = None if here.fitting is None else here.fitting.data
    if omega is None:
        slopes, extra = integrals.coulomb_derivative(here.pyscf_mol, density.numpy(), data)
    else:
        (slopes,), extra = integrals.exchange_derivative(here.pyscf_mol, density[None].numpy(), omega, data)
    rows = slice(*here.pyscf_mol.aoslice_by_atom()[atom, 2:])
    slope = 2 * (slopes[axis, rows] * density.numpy()[rows]).sum() + extra[atom, axis]
    assert bool(extra.any()) == bool(density_fit)
    assert slope == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=2e-6)
