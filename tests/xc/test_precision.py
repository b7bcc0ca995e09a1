"""Networks in single precision inside functionals in double."""

import copy

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.xc import NNLDA, NNMGGA, NNPBE, build_network
from tests.xc.toy import weighted

LAYERS = {"lda": NNLDA, "gga": NNPBE, "mgga": NNMGGA}


@pytest.fixture(scope="module")
def water():
    """Weights and density rows of a real molecule's grid, made of its atoms."""
    molecule = Molecule("O 0 0 0.22; H 0 1.43 -0.89; H 0 -1.43 -0.89", "6-31g*", grid_level=2)
    hamiltonian = KSHamiltonian(molecule, LAYERS["mgga"](build_network(family="mgga")))
    return hamiltonian.weights, hamiltonian.density_of_matrix(molecule.starting_density[None])


def pair(family, output, seed=0):
    """A functional with a network in float32, and with the same weights in float64."""
    low = LAYERS[family](
        build_network(family=family, output=output, zero_last=False, seed=seed, dtype="float32")
    )
    high = copy.deepcopy(low)
    high.nnmodel.double()
    return low, high


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("output", ["raw", "lda_exchange"])
def test_energies(family, output, water):
    # rounding is as likely up as down at each point, so that the sum has seven or eight digits
    # more than a network of this size needs; a rounded factor would be wrong everywhere alike
    weights, rho = water
    for seed in range(3):
        low, high = ((xc(rho) * weights).sum().item() for xc in pair(family, output, seed))
        assert abs(low - high) < 1e-8 * max(1.0, abs(high))
        assert low != high


@pytest.mark.parametrize("family", LAYERS)
def test_potentials(family, water):
    weights, rho = water
    rho = rho.clone().requires_grad_()
    low, high = (
        torch.autograd.grad((xc(rho) * weights).sum(), rho)[0] for xc in pair(family, "lda_exchange")
    )
    scale = high.abs().amax(-1, keepdim=True)
    assert low.dtype == torch.float64
    assert ((low - high).abs() <= 2e-6 * scale).all() and (low != high).any()


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("output", ["raw", "lda_exchange"])
def test_parameter_gradients_against_finite_differences(family, output, water):
    weights, rho = water
    functional, _ = pair(family, output)
    energy = functional.at_density(rho, weighted(weights))
    parameters = list(functional.parameters())
    slopes = torch.autograd.grad(energy(), parameters)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator) for p in parameters]
    start = [p.detach().clone() for p in parameters]
    values, expected = [], 0.0
    with torch.no_grad():
        for step in (1e-2, -1e-2, 2e-2, -2e-2):
            for p, origin, d in zip(parameters, start, directions, strict=True):
                p.copy_(origin + step * d)
            values.append(energy().item())
    for slope, d in zip(slopes, directions, strict=True):
        assert slope.dtype == torch.float32 and torch.isfinite(slope).all()
        expected += float((slope.double() * d.double()).sum())
    numeric = (8 * (values[0] - values[1]) - (values[2] - values[3])) / 12e-2
    assert expected == pytest.approx(numeric, rel=1e-5, abs=1e-6)


def test_the_result_has_the_type_of_the_inputs():
    net = build_network(family="gga", dtype="float32", zero_last=False, output="lda_exchange")
    x = torch.rand(5, 3, dtype=torch.float64)
    assert net(x).dtype == torch.float64 and net(x.float()).dtype == torch.float32
    torch.testing.assert_close(net(x.float()).double(), net(x), rtol=1e-5, atol=1e-6)
