"""Libxc functionals: values, derivatives and exact exchange against PySCF."""

import copy
import pickle

import numpy as np
import pytest
import torch
from pyscf import dft, gto
from pyscf.dft.numint import NumInt

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import Libxc, get_xc

ROWS = {"lda": 1, "gga": 4, "mgga": 5}
NAMES = ["lda,pw", "pbe", "r2scan", "tpss", "b3lyp", "camb3lyp", "hse06", "lc-wpbe", "m06-2x"]


def pyscf_derivatives(functional, rho):
    rows = ROWS[functional.family]
    array = np.ascontiguousarray(rho.detach().numpy()[:, :rows])
    if rows == 1:
        array = array[:, 0]
    polarised = len(array) == 2
    exc, vxc, fxc, _ = NumInt().eval_xc_eff(
        functional.code,
        array if polarised else array[0],
        deriv=2,
        spin=int(polarised),
        xctype=functional.family.upper(),
    )
    spins = len(array)
    return exc.reshape(-1), vxc.reshape(spins, rows, -1), fxc.reshape(spins, rows, spins, rows, -1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("polarised", [True, False])
def test_two_derivatives_are_those_of_pyscf(name, polarised, density):
    functional, rows = Libxc(name), ROWS[Libxc(name).family]
    rho = density(60)
    rho = (rho if polarised else rho.sum(0, keepdim=True)).requires_grad_()
    exc, vxc, fxc = pyscf_derivatives(functional, rho)
    energy = functional(rho)
    (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
    direction = torch.randn(rho.shape, dtype=torch.float64)
    (second,) = torch.autograd.grad((first * direction).sum(), rho)
    total = rho[:, 0].sum(0).detach().numpy()
    np.testing.assert_allclose(energy.detach().numpy(), exc * total, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(first[:, :rows].detach().numpy(), vxc, rtol=1e-11, atol=1e-13)
    expected = np.einsum("aibjg,bjg->aig", fxc, direction[:, :rows].numpy())
    np.testing.assert_allclose(second[:, :rows].numpy(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name, rows", [("lda,pw", 1), ("pbe", 4), ("r2scan", 5)])
@pytest.mark.parametrize("polarised", [True, False])
def test_finite_differences(name, rows, polarised, density):
    functional = Libxc(name)
    rho = density(2, low=-0.5, high=0.5)[: 1 + polarised, :rows].requires_grad_()
    assert torch.autograd.gradcheck(functional, rho, eps=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(functional, rho, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name, rows", [("lda,pw", 1), ("pbe", 4), ("r2scan", 5)])
@pytest.mark.parametrize("polarised", [True, False])
def test_third_derivatives_are_finite_differences(name, rows, polarised, density):
    """Times something that depends on the density as well, as learned factors do."""
    functional = Libxc(name)
    rho = density(2, low=-0.5, high=0.5)[: 1 + polarised, :rows].requires_grad_()
    directions = torch.randn((2, *rho.shape), dtype=torch.float64)

    def curvature(rho):
        energy = functional(rho) * (1 + torch.tanh(rho.sum((0, 1))))
        (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
        (second,) = torch.autograd.grad((first * directions[0]).sum(), rho, create_graph=True)
        return (second * directions[1]).sum((0, 1))

    assert torch.autograd.gradcheck(curvature, rho, eps=1e-6, atol=1e-5)
    with pytest.raises(FunctionalError, match="beyond the third"):  # and not zero
        torch.autograd.gradgradcheck(curvature, rho)


def test_second_derivatives_only_on_request(density, monkeypatch):
    from deepchem_dft.xc import libxc

    orders = []
    evaluate = libxc._evaluate
    monkeypatch.setattr(
        libxc, "_evaluate", lambda code, rho, deriv: orders.append(deriv) or evaluate(code, rho, deriv)
    )
    functional, rho = Libxc("pbe"), density(5)
    functional(rho)
    assert orders == [0]
    rho.requires_grad_()
    (first,) = torch.autograd.grad(functional(rho).sum(), rho, create_graph=True)
    assert orders == [0, 1]
    for _ in range(3):  # as in a conjugate-gradient solve: one evaluation serves all products
        torch.autograd.grad(first.sum(), rho, retain_graph=True)
    assert orders == [0, 1, 2]


@pytest.mark.parametrize("name", ["lda,pw", "pbe", "blyp", "r2scan", "scan", "tpss", "b3lyp"])
def test_corners_are_finite(name, corners, assert_finite):
    energy = assert_finite(Libxc(name), corners)
    assert_finite(Libxc(name), corners.sum(0, keepdim=True))
    assert energy[corners[:, 0].sum(0) <= 0].abs().max() == 0.0


@pytest.mark.parametrize("name", ["lda,pw", "pbe", "r2scan"])
def test_closed_shell_path_and_spin_flip(name, density):
    functional, rho = Libxc(name), density(50)
    equal = rho[:1].repeat(2, 1, 1)
    torch.testing.assert_close(functional(equal), functional(2 * rho[:1]), rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(functional(rho), functional(rho.flip(0)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "ours, pyscf",
    [
        ("pbe", "pbe,pbe"),
        ("lda", "slater,"),
        ("lda_x", "slater,"),
        ("lda_c_pw", ",pw"),
        ("lda_x+lda_c_pw", "lda,pw"),
        ("gga_x_pbe+gga_c_pbe", "pbe,pbe"),
        ("LDA_X", "lda,"),
        ("gga_x_pbe,gga_c_pbe", "pbe,pbe"),
        ("scan", "mgga_x_scan,mgga_c_scan"),
        ("r2scan", "mgga_x_r2scan,mgga_c_r2scan"),
        ("tpss", "mgga_x_tpss,mgga_c_tpss"),
        ("pbe - lda_c_pw", "pbe,pbe+-1*pw"),
        ("1e+0*pbe", "pbe,pbe"),
        ("pbe-sol", "pbesol"),
        ("b3lyp", "hyb_gga_xc_b3lyp"),
    ],
)
def test_spellings_mean_what_they_should(ours, pyscf, density):
    rho = density(20)
    functional = Libxc(ours)
    rows = ROWS[functional.family]
    array = rho.numpy()[:, 0] if rows == 1 else np.ascontiguousarray(rho.numpy()[:, :rows])
    exc = NumInt().eval_xc_eff(pyscf, array, deriv=0, spin=1)[0].reshape(-1)
    expected = exc * rho[:, 0].sum(0).numpy()
    np.testing.assert_allclose(functional(rho).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name, terms",
    [
        ("pbe", []),
        ("b3lyp", [(0.2, None)]),
        ("pbe0", [(0.25, None)]),
        ("hf", [(1.0, None)]),
        ("camb3lyp", [(0.19, None), (0.46, 0.33)]),
        ("lc-wpbe", [(1.0, 0.4)]),
        ("hse06", [(0.25, None), (-0.25, 0.11)]),
        ("m06-l", []),
        ("0.3*hf+0.7*pbe,pbe", [(0.3, None)]),
        ("0.5*b3lyp", [(0.1, None)]),
    ],
)
def test_exchange_terms(name, terms):
    found = Libxc(name).exchange_terms
    assert [w for _, w in found] == [w for _, w in terms]
    assert [c for c, _ in found] == pytest.approx([c for c, _ in terms])


@pytest.mark.parametrize("name", ["b3lyp", "camb3lyp", "lc_wpbe", "hse06", "m11,m11", "hf"])
def test_exact_exchange_energy_is_that_of_pyscf(name):
    mol = gto.M(atom="O 0 0 0; H 0 0 0.97", basis="6-31g", spin=1, verbose=0)
    mf = dft.UKS(mol, xc=name)
    mf.grids.level = 0
    dm = mf.get_init_guess()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=dm.shape) * 0.01
    dm = dm + noise + noise.transpose(0, 2, 1)
    total = mf.get_veff(mol, dm).exc
    semilocal = mf._numint.nr_uks(mol, mf.grids, name, dm)[1] if name != "hf" else 0.0
    ours = 0.0
    for coefficient, omega in Libxc(name).exchange_terms:
        with mol.with_range_coulomb(omega or 0.0):
            k = mf.get_k(mol, dm, omega=omega or 0.0)
        ours -= 0.5 * coefficient * np.einsum("sij,sji->", dm, k)
    assert ours == pytest.approx(total - semilocal, abs=1e-9)


def test_hartree_fock_has_no_density_part(density):
    rho = density(4).requires_grad_()
    energy = Libxc("hf")(rho)
    assert not energy.any()
    (first,) = torch.autograd.grad(energy.sum(), rho)
    assert not first.any()


def test_copies_and_names(density):
    functional, rho = Libxc("r2scan"), density(5)
    for twin in (copy.deepcopy(functional), pickle.loads(pickle.dumps(functional))):
        assert torch.equal(twin(rho), functional(rho))
    assert functional.state_dict() == {} and not list(functional.parameters())
    assert get_xc(functional) is functional
    assert type(get_xc("native:pbe")).__name__ == "PBE"
    torch.testing.assert_close(get_xc("native:lda")(rho), Libxc("lda,pw")(rho))


def test_other_precision_in_is_other_precision_out(density):
    rho = density(5)
    assert Libxc("pbe")(rho.float()).dtype == torch.float32
    torch.testing.assert_close(Libxc("pbe")(rho.float()).double(), Libxc("pbe")(rho), rtol=1e-5, atol=1e-6)
