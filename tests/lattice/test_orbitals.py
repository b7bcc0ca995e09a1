"""Occupied orbitals and their derivatives against dense eigensolvers and exact solutions."""

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.lattice import orbitals
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.orbitals import occupied_orbitals
from deepchem_dft.lattice.systems import h2, h4

GRID = Grid(301, 0.1)


def _wells(depths, width=1.0):
    return torch.stack([-d * torch.exp(-((GRID.x / width) ** 2)) for d in depths])


def _two_wells(distance):
    left, right = (-2 * torch.exp(-((GRID.x - s * distance / 2) ** 2)) for s in (-1, 1))
    return (left + right)[None]


def _dense(potential, occupations):
    """The same by PyTorch's eigensolver, which differentiates itself."""
    values, vectors = torch.linalg.eigh(GRID.kinetic_matrix() + torch.diag_embed(potential))
    count = occupations.shape[1]
    density = torch.einsum("bm,bnm->bn", occupations, vectors[:, :, :count] ** 2) / GRID.spacing
    return density, (values[:, :count] * occupations).sum(1)


@pytest.fixture
def no_eigensolver(monkeypatch):
    """Fail if the fallback is used."""

    def fail(*arguments):
        raise AssertionError("fell back to the eigensolver")

    monkeypatch.setattr(orbitals, "eigvals_banded", fail)


@pytest.mark.parametrize("occupations", [[[2.0, 0.0], [2.0, 2.0]], [[1.0, 0.0], [2.0, 1.0]]])
def test_orbitals_and_gradients_are_those_of_a_dense_eigensolver(occupations, no_eigensolver):
    occupations = torch.tensor(occupations, dtype=torch.float64)
    potential = _wells([2.0, 3.0], 2.0)
    values, vectors = np.linalg.eigh((GRID.kinetic_matrix() + torch.diag_embed(_wells([1.5, 2.0]))).numpy())
    assert (values[:, 0] < 0).all()
    guess = torch.tensor(vectors[:, :, :2].transpose(0, 2, 1).copy())
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, len(GRID), generator=generator, dtype=torch.float64)
    results = []
    for path in (_dense, lambda v, f: occupied_orbitals(GRID, v, f, guess)[:2]):
        v = potential.clone().requires_grad_()
        density, energy = path(v, occupations)
        ((density * weight).sum() + energy @ torch.tensor([0.3, 0.7]).double()).backward()
        results.append((density, energy, v.grad))
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() < 1e-10


def test_without_a_guess_the_eigensolver_answers():
    potential, occupations = _wells([2.0]), torch.tensor([[2.0, 2.0]])
    found = occupied_orbitals(GRID, potential, occupations)
    density, energy = _dense(potential, occupations.double())
    assert (found.density - density).abs().max() < 1e-10
    assert abs(found.energy - energy) < 1e-11


@pytest.mark.parametrize("distance", [6.0, 20.0])
def test_degenerate_occupied_orbitals_have_a_gradient(distance):
    """Two far wells: their states are as good as degenerate, and both are full."""
    v, occupations = _two_wells(distance).requires_grad_(), torch.tensor([[2.0, 2.0]])
    guess = occupied_orbitals(GRID, 1.1 * v.detach(), occupations).orbitals
    weight = torch.cos(GRID.x)

    def value(potential):
        return (occupied_orbitals(GRID, potential, occupations, guess).density * weight).sum()

    (gradient,) = torch.autograd.grad(value(v), v)
    direction = torch.exp(-((GRID.x - distance / 2 - 0.3) ** 2))[None]
    with torch.no_grad():
        slope = (value(v + 1e-3 * direction) - value(v - 1e-3 * direction)) / 2e-3
    assert abs(slope / (gradient * direction).sum() - 1) < 1e-5


def test_a_guess_that_leads_elsewhere_does_no_harm():
    """Rayleigh-quotient iteration from excited states ends in excited states; that is noticed."""
    potential, occupations = _wells([6.0], 2.0), torch.tensor([[2.0]])
    _, vectors = torch.linalg.eigh(GRID.kinetic_matrix() + torch.diag(potential[0]))
    calls = []
    solve = orbitals.eigvals_banded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orbitals, "eigvals_banded", lambda *a, **k: (calls.append(1), solve(*a, **k))[1])
        for state in (2, 3):
            found = occupied_orbitals(GRID, potential, occupations, vectors[None, None, :, state])
            assert abs(found.energy - _dense(potential, occupations.double())[1]) < 1e-10
    assert len(calls) == 2


def test_all_of_a_batch_are_as_if_alone():
    potential = torch.cat([_wells([1.0, 3.0], 2.0), _two_wells(4.0)])
    occupations = torch.tensor([[2.0, 0.0], [2.0, 1.0], [2.0, 2.0]])
    guess = occupied_orbitals(GRID, 1.2 * potential, torch.full((3, 2), 2.0)).orbitals
    together = occupied_orbitals(GRID, potential, occupations, guess)
    for row in range(3):
        one = slice(row, row + 1)
        alone = occupied_orbitals(GRID, potential[one], occupations[one], guess[one])
        assert (alone.density[0] - together.density[row]).abs().max() < 1e-12
        assert abs(alone.energy[0] - together.energy[row]) < 1e-12


@pytest.mark.parametrize(("order", "bound"), [(3, 2e-2), (5, 5e-5), (9, 5e-9)])
def test_higher_differences_come_closer_to_the_harmonic_oscillator(order, bound):
    grid = Grid(201, 0.1, order)
    found = occupied_orbitals(grid, 0.5 * grid.x[None] ** 2, torch.tensor([[1.0] * 3]))
    errors = (found.orbital_energies[0] - torch.tensor([0.5, 1.5, 2.5])).abs()
    assert bound / 50 < errors.max() < bound


def test_molecules_of_different_size_from_the_external_potential():
    """What Molecules holds: orbitals of electrons that do not interact."""
    grid = Grid()
    potential = torch.stack([s.external_potential(grid) for s in (h2(3.0), h4(2.0))])
    occupations = torch.tensor([[2.0, 0.0], [2.0, 2.0]])
    found = occupied_orbitals(grid, potential, occupations)
    assert grid.integrate(found.density).tolist() == pytest.approx([2.0, 4.0], abs=1e-12)
    assert found.orbitals[0, 1].abs().max() == 0


@pytest.mark.parametrize(
    ("potential", "occupations", "message"),
    [
        (torch.zeros(1, 300), [[2.0]], "do not belong together"),
        (torch.zeros(2, 301), [[2.0]], "do not belong together"),
        (torch.zeros(1, 301), [[1.0, 2.0]], "must not increase"),
        (torch.full((1, 301), torch.nan), [[2.0]], "not finite"),
    ],
)
def test_bad_arguments_are_explained(potential, occupations, message):
    with pytest.raises(InputError, match=message):
        occupied_orbitals(GRID, potential.double(), torch.tensor(occupations))
