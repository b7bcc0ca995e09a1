"""The functionals written in torch against libxc."""

import numpy as np
import pytest
import torch
from pyscf.dft.numint import NumInt

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import PBE, SlaterPW92

CASES = [(SlaterPW92(), "lda,pw", 1), (PBE(), "pbe,pbe", 4)]


def reference(name, rows, rho):
    array = np.ascontiguousarray(rho.detach().numpy()[:, :rows])
    if rows == 1:
        array = array[:, 0]
    polarised = len(array) == 2
    exc, vxc = NumInt().eval_xc_eff(name, array if polarised else array[0], deriv=1, spin=int(polarised))[:2]
    total = rho[:, 0].sum(0).detach().numpy()
    return exc.reshape(-1) * total, vxc.reshape(len(rho), rows, -1)


@pytest.mark.parametrize("functional, name, rows", CASES)
@pytest.mark.parametrize("polarised", [True, False])
def test_energy_and_potential_are_those_of_libxc(functional, name, rows, polarised, density):
    rho = density(400, low=-8.0, high=3.0)
    rho[1, :, ::10] *= 1e-4  # nearly one spin
    rho[:, 1:4, ::7] = 0.0
    rho = (rho if polarised else rho.sum(0, keepdim=True)).requires_grad_()
    energy = functional(rho)
    (potential,) = torch.autograd.grad(energy.sum(), rho)
    expected, expected_potential = reference(name, rows, rho)
    np.testing.assert_allclose(energy.detach().numpy(), expected, rtol=1e-9, atol=1e-13)
    # libxc takes 1 - zeta by subtraction and loses its digits where one spin is nearly absent
    sure = (rho[:, 0] > 1e-7 * rho[:, 0].sum(0)).all(0).numpy()
    assert sure.sum() > 300
    np.testing.assert_allclose(
        potential[:, :rows].numpy()[..., sure], expected_potential[..., sure], rtol=2e-7, atol=1e-9
    )
    assert not potential[:, rows:].any()


def test_lda_matches_to_1e_10_over_all_densities(density):
    rho = density(2000, low=-12.0, high=3.0)
    expected, _ = reference("lda,pw", 1, rho)
    assert np.abs(SlaterPW92()(rho).numpy() / expected - 1).max() < 1e-10


@pytest.mark.parametrize("functional, name, rows", CASES)
def test_one_empty_spin_channel(functional, name, rows, density):
    rho = density(100)
    rho[1] = 0.0
    expected, _ = reference(name, rows, rho)
    np.testing.assert_allclose(functional(rho).numpy(), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("functional, name, rows", CASES)
def test_closed_shell_path_is_the_polarised_one(functional, name, rows, density):
    half = density(200, low=-9)[:1]
    open_shell, closed = functional(half.repeat(2, 1, 1)), functional(2 * half)
    torch.testing.assert_close(open_shell, closed, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("functional, name, rows", CASES)
def test_spin_flip(functional, name, rows, density):
    rho = density(200)
    torch.testing.assert_close(functional(rho), functional(rho.flip(0)), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("functional, name, rows", CASES)
def test_corners_are_finite(functional, name, rows, corners, assert_finite):
    energy = assert_finite(functional, corners)
    assert_finite(functional, corners.sum(0, keepdim=True))
    assert energy[corners[:, 0].sum(0) <= 1e-14].abs().max() == 0.0


@pytest.mark.parametrize("functional, name, rows", CASES)
def test_second_derivatives(functional, name, rows, density):
    rho = density(3, low=-1.0, high=0.0)[:, :rows].requires_grad_()
    assert torch.autograd.gradcheck(functional, rho)
    assert torch.autograd.gradgradcheck(functional, rho)


def test_exchange_scaling_and_spin_scaling():
    # E_x[n_a, n_b] = (E_x[2 n_a] + E_x[2 n_b]) / 2, and LDA exchange goes as n^(4/3)
    from deepchem_dft.xc.native import slater

    n = torch.tensor([0.3], dtype=torch.float64)
    assert slater(8 * n).item() == pytest.approx(16 * slater(n).item(), rel=1e-14)


def test_too_few_rows_are_reported():
    with pytest.raises(FunctionalError, match=r"\(2, 1, 5\).*gga"):
        PBE()(torch.rand(2, 1, 5, dtype=torch.float64))
    with pytest.raises(FunctionalError, match="density"):
        SlaterPW92()(torch.rand(3, 1, 5, dtype=torch.float64))
