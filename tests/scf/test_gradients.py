"""Gradients by functional parameters and by nuclei, against finite differences of whole SCFs."""

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham

TIGHT = 1e-10


def analytic(measure, result, parameters, direction):
    slopes = torch.autograd.grad(measure(result), parameters, allow_unused=True, retain_graph=True)
    return sum(float((s * d).sum()) for s, d in zip(slopes, direction, strict=True) if s is not None)


def random_direction(functional, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in functional.parameters()]


ENERGY_CASES = [
    ("H2O", "lda,pw", "lda"),
    ("H2O", "pbe", "gga"),
    ("H2O", "pbe", "mgga"),
    ("H2O", "pbe0", "gga"),
    ("C", "lda,pw", "lda"),
    ("O", "pbe", "gga"),
    ("F", "pbe", "mgga"),
    ("HCl", "pbe0", "gga"),
    ("NO", "camb3lyp", "gga"),
]


@pytest.mark.parametrize(("name", "parent", "family"), ENERGY_CASES)
def test_energy_gradient(make, neural, directional, name, parent, family):
    molecule = make(name) if name not in "CF" else _atom(name)
    functional = neural(parent, family)  # a and b are parameters too
    problem = KohnSham(molecule, functional, tol=1e-8)
    result = problem.run()
    direction = random_direction(functional)
    exact = analytic(lambda r: r.energy, result, list(functional.parameters()), direction)
    numeric = directional(
        functional, lambda: problem.run(guess=result.state), [lambda r: r.energy], direction, 1e-3
    )
    assert exact == pytest.approx(float(numeric[0]), rel=1e-6)


@pytest.mark.parametrize("which", ["aweight", "bweight", "exchange"])
def test_energy_gradient_of_each_mixing_weight(make, neural, directional, which):
    functional = neural("pbe0", "gga", exchange=0.2, train_exchange=True)
    names = [n for n, _ in functional.named_parameters()]
    assert sum(which in n for n in names) == 1, names
    direction = [torch.full_like(p, float(which in n)) for n, p in functional.named_parameters()]
    problem = KohnSham(make("O"), functional, tol=1e-8)
    result = problem.run()
    exact = analytic(lambda r: r.energy, result, list(functional.parameters()), direction)
    numeric = directional(
        functional, lambda: problem.run(guess=result.state), [lambda r: r.energy], direction, 1e-3
    )
    assert abs(exact) > 1e-3
    assert exact == pytest.approx(float(numeric[0]), rel=1e-6)


PROPERTY_CASES = [
    ("H2O", "lda,pw", "lda"),
    ("NH", "pbe", "gga"),
    ("H2O", "pbe", "mgga"),
    ("NH", "pbe0", "gga"),
]


def _measures(molecule):
    points = torch.tensor([[0.0, 0.1, 0.3], [0.5, 0.0, 1.0], [-0.3, 0.2, 0.1]])
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(molecule.nao, molecule.nao, generator=generator, dtype=torch.float64)
    axis = torch.tensor([0.3, 0.5, 1.0], dtype=torch.float64)
    return {
        "dipole": lambda r: (r.dipole * axis).sum(),
        "density": lambda r: r.density(points).sum(),
        "matrix": lambda r: (r.total_density_matrix * matrix).sum(),
        "orbital energies": lambda r: r.orbital_energies[:, :5].sum(),
        "sum of both": lambda r: r.energy + (r.dipole * axis).sum(),
    }


@pytest.mark.parametrize(("name", "parent", "family"), PROPERTY_CASES)
def test_property_gradients(make, neural, directional, name, parent, family):
    molecule = make(name, basis="6-31g") if name != "NH" else _nh()
    functional = neural(parent, family)
    problem = KohnSham(molecule, functional, tol=TIGHT)
    result = problem.run()
    measures = _measures(molecule)
    direction = random_direction(functional)
    exact = {
        label: analytic(measure, result, list(functional.parameters()), direction)
        for label, measure in measures.items()
    }
    numeric = directional(
        functional, lambda: problem.run(guess=result.state), list(measures.values()), direction, 5e-3
    )
    for label, expected in zip(measures, numeric, strict=True):
        assert exact[label] == pytest.approx(float(expected), rel=1e-5), label


@pytest.mark.parametrize("name", ["C", "O", "F"])
def test_density_gradient_of_open_shell_atoms(neural, directional, name):
    """Atoms turn in space at no cost: compared in the complement of those projected modes."""
    molecule = _atom(name)
    functional = neural("lda,pw", "lda")
    problem = KohnSham(molecule, functional, tol=TIGHT, max_iter=600)
    result = problem.run()
    soft = result._context.soft
    assert len(soft.vectors) >= 1
    assert bool((result.soft_modes.abs() < 1e-4).all())
    hessian = result._context.hessian
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(2, molecule.nao, molecule.nao, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.mT
    changes = torch.stack([hessian.density_change(v).flatten() for v in soft.vectors])
    # Take out of the measured matrix what the projected modes would change.
    coefficients = torch.linalg.lstsq(changes.T, matrix.flatten()[:, None]).solution
    matrix = matrix - (changes.T @ coefficients).reshape(matrix.shape)

    def measure(r):
        return (r.density_matrix * matrix).sum()

    direction = random_direction(functional)
    exact = analytic(measure, result, list(functional.parameters()), direction)
    numeric = directional(functional, lambda: problem.run(guess=result.state), [measure], direction, 1e-3)
    assert abs(exact) > 1e-4
    assert exact == pytest.approx(float(numeric[0]), rel=1e-5, abs=1e-9)


def test_unconverged_contributes_no_gradient(make, neural):
    result = KohnSham(make("NO"), neural("pbe"), max_iter=3).run(on_unconverged="continue")
    assert not (result.energy + result.dipole.sum()).requires_grad


def test_frozen_steps_equal_the_full_gradient(make, neural):
    """At convergence the frozen-density gradient is the whole gradient."""
    from deepchem_dft.scf import SCFLayer

    functional, molecule = neural("pbe", "gga"), make("H2O")
    layer = SCFLayer(functional, tol=1e-8)
    result = layer(molecule)
    parameters = list(functional.parameters())
    full = torch.autograd.grad(result.energy, parameters)
    energy = layer.frozen_energy(molecule, result.state)
    assert energy.item() == pytest.approx(result.energy.item(), abs=1e-10)
    for a, b in zip(torch.autograd.grad(energy, parameters), full, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def _atom(symbol):

    return Molecule(f"{symbol} 0 0 0", basis="6-31g*", grid_level=1, spin={"C": 2, "O": 2, "F": 1}[symbol])


def _nh():

    return Molecule("N 0 0 0; H 0.1 0 2.0", basis="6-31g", spin=2, grid_level=1)


@pytest.mark.parametrize(
    ("name", "parent", "family"),
    [
        ("H2O", "lda,pw", "lda"),
        ("H2O", "pbe", "mgga"),
        ("H2O+", "pbe", "gga"),
        ("NO", "b3lyp", "gga"),
        ("H2O", "camb3lyp", "gga"),
        ("HCl", "pbe", "gga"),
    ],
)
def test_forces_are_minus_the_energy_derivative(make, neural, check_forces, name, parent, family):
    check_forces(make(name), neural(parent, family), at_rest=1e-9)


def test_forces_equal_pyscf_with_grid_response(make):
    from pyscf import dft

    molecule = make("H2O")
    result = KohnSham(molecule, "pbe", tol=1e-8).run()
    mole = molecule.pyscf_mol.copy()
    solver = dft.RKS(mole).set(xc="pbe", conv_tol=1e-12, verbose=0)
    solver.grids.level = molecule.grid_level
    solver.kernel()
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    assert result.forces().numpy() == pytest.approx(-gradient.kernel(), abs=1e-6)
