"""Maps of Hamiltonians made self-consistent: physical ones with known answers, and a network."""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from scipy.optimize import brentq
from torch import Tensor, nn

from deepchem_dft.equilibrium import Damped, Truncated
from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.hamiltonian.selfconsistent import Search, SelfConsistent

HOPPING, OFFSET = 1.0, 0.6  # Ha


class Hubbard(nn.Module):
    """Mean field of two electrons on sites that repel their own charge, non-orthogonal if asked."""

    def __init__(self, repulsion: float) -> None:
        super().__init__()
        self.repulsion = nn.Parameter(torch.tensor(repulsion, dtype=torch.float64))

    def forward(self, bare: Tensor, overlap: Tensor, hamiltonian: Tensor) -> Tensor:
        inverse = torch.linalg.inv(torch.linalg.cholesky(overlap))
        vectors = torch.linalg.eigh(inverse @ hamiltonian @ inverse.mT).eigenvectors
        orbital = inverse.mT @ vectors[:, 0]
        charges = 2 * orbital * (overlap @ orbital)  # Mulliken's
        field = 0.5 * self.repulsion * charges
        return bare + 0.5 * overlap * (field[:, None] + field)


def dimer() -> Tensor:
    return torch.tensor([[OFFSET / 2, -HOPPING], [-HOPPING, -OFFSET / 2]], dtype=torch.float64)


def exact(repulsion: float) -> np.ndarray:
    """H of the dimer from the root of one equation for the difference m of its charges."""

    def difference(m: float) -> float:
        d = OFFSET + repulsion * m / 2
        return m + d / np.hypot(d / 2, HOPPING)

    m = brentq(difference, -2, 2, xtol=1e-14)
    return dimer().numpy() + 0.5 * repulsion * np.diag([1 + m / 2, 1 - m / 2])


@pytest.mark.parametrize("solver", ["anderson", "broyden", "diis"])
@pytest.mark.parametrize("repulsion", [0.5, 3.0, 8.0])
def test_mean_field_of_a_dimer_is_that_of_the_closed_form(repulsion, solver):
    solve = SelfConsistent(Hubbard(repulsion), Search(solver=solver, tol=1e-10))
    (h,), found = solve([dimer()], [torch.eye(2, dtype=torch.float64)], [dimer()])
    assert found.converged.tolist() == [True]
    np.testing.assert_allclose(h.detach().numpy(), exact(repulsion), rtol=0, atol=1e-9)


def test_short_and_damped_steps_lead_to_the_same_place():
    """Charge sloshes between the sites: the slope is -4 at the fixed point."""
    module, seen = Hubbard(8.0), []
    s = torch.eye(2, dtype=torch.float64)

    def watched(bare, overlap, h):
        seen.append(h.detach().clone())
        return module(bare, overlap, h)

    for max_step in (None, 0.5):
        seen.clear()
        solve = SelfConsistent(watched, Search(solver=Damped(0.3), tol=1e-9, max_iter=150), max_step=max_step)
        with torch.no_grad():
            (h,), found = solve([dimer()], [s], [dimer()])
        assert found.converged.tolist() == [True]
        np.testing.assert_allclose(h.numpy(), exact(8.0), rtol=0, atol=1e-8)
        longest = max(float((b - a).abs().max()) for a, b in zip(seen, seen[1:]))
        assert (longest > 1.0) if max_step is None else (longest < 0.3 * max_step + 1e-12)


def test_overlap_and_several_molecules_of_different_size():
    """A ring of five sites and a dimer in one call, against a plain loop of its own."""
    ring = torch.zeros(5, 5, dtype=torch.float64)
    overlap = torch.eye(5, dtype=torch.float64)
    for i in range(5):
        ring[i, i] = 0.1 * i
        for j in ((i + 1) % 5,):
            ring[i, j] = ring[j, i] = -0.5
            overlap[i, j] = overlap[j, i] = 0.15
    solve = SelfConsistent(Hubbard(1.5), Search(tol=1e-11))
    hs, found = solve([dimer(), ring], [torch.eye(2, dtype=torch.float64), overlap], [dimer(), ring])
    assert found.converged.tolist() == [True, True] and len(found.iterations) == 2
    np.testing.assert_allclose(hs[0].detach(), exact(1.5), rtol=0, atol=1e-10)
    h, s = ring.numpy().copy(), overlap.numpy()
    for _ in range(400):
        c = eigh(h, s)[1][:, 0]
        v = 0.75 * 2 * c * (s @ c)
        h = 0.7 * h + 0.3 * (ring.numpy() + 0.5 * s * (v[:, None] + v))
    np.testing.assert_allclose(hs[1].detach(), h, rtol=0, atol=1e-9)


def test_the_field_of_pyscf_becomes_pyscfs_own_solution():
    water = HamiltonianSample([8, 1, 1], [[0, 0, 0], [0, 1.43, 1.1], [0, -1.43, 1.1]], "sto-3g", xc="pbe")
    reference = Reference(water, grid_level=0)

    def field(sample, overlap, hamiltonian):
        c = eigh(hamiltonian.numpy(), overlap.numpy())[1][:, :5]
        return torch.from_numpy(reference.fock(2 * c @ c.T))

    (h,), found = SelfConsistent(field, Search(tol=1e-7))(
        [water], [torch.from_numpy(reference.overlap)], [torch.from_numpy(reference.guess())]
    )
    assert bool(found.converged.all()) and int(found.iterations) < 20
    np.testing.assert_allclose(h, reference.solve().hamiltonian, rtol=0, atol=1e-6)


def test_gradients_agree_with_finite_differences():
    module, s = Hubbard(3.0), torch.eye(2, dtype=torch.float64)
    h0 = dimer().requires_grad_()

    def value(**settings):
        (h,), found = SelfConsistent(module, Search(tol=1e-12, **settings))([h0], [s], [h0])
        assert bool(found.converged.all())
        return h[0, 0] * 2 + h[1, 1] ** 2

    value().backward()
    implicit = module.repulsion.grad.clone()
    by_hand = (value_at(3.0 + 1e-4) - value_at(3.0 - 1e-4)) / 2e-4
    assert float(implicit) == pytest.approx(by_hand, rel=1e-7)
    assert h0.grad is not None and bool(h0.grad.abs().max() > 0)

    module.repulsion.grad = None
    value(adjoint=Truncated(steps=60, mixing=0.5)).backward()
    assert float(module.repulsion.grad) == pytest.approx(by_hand, rel=1e-6)


def value_at(repulsion: float) -> float:
    h = exact(repulsion)
    return 2 * h[0, 0] + h[1, 1] ** 2


class Tiny(nn.Module):
    """A user's network: the guess of the matrix and the matrix itself, element by element."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, target: Tensor, overlap: Tensor, hamiltonian: Tensor) -> Tensor:
        return self.net(torch.stack([target, overlap, hamiltonian], -1))[..., 0]


def test_a_network_of_a_user_learns_through_its_fixed_point():
    torch.manual_seed(0)
    solve = SelfConsistent(Tiny())
    matrices = [torch.randn(n, n, dtype=torch.float64) for n in (3, 5)]
    matrices = [0.5 * (m + m.mT) for m in matrices]
    overlaps = [torch.eye(len(m), dtype=torch.float64) for m in matrices]
    optimizer = torch.optim.Adam(solve.parameters(), lr=0.02)
    losses = []
    for _ in range(25):
        hs, found = solve(matrices, overlaps, matrices)
        assert bool(found.converged.all())
        assert all(bool((h == h.mT).all()) for h in hs)
        loss = sum((h - 0.7 * m.sin()).square().mean() for h, m in zip(hs, matrices))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_a_molecule_without_fixed_point_is_reported_and_spares_the_others():
    def module(kind, overlap, h):
        return h + 1.0 if kind == "never" else 0.5 * h

    eye = torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        hs, found = SelfConsistent(module)(["never", "good"], [eye, eye], [eye, eye])
    assert found.converged.tolist() == [False, True]
    assert str(found.status[0]) != "converged" == str(found.status[1])
    np.testing.assert_allclose(hs[1], 0.0, atol=1e-4)


def test_mistakes_are_named():
    eye = torch.eye(2)
    with pytest.raises(InputError, match="max_step"):
        SelfConsistent(nn.Identity(), max_step=-1.0)
    with pytest.raises(InputError, match="1 geometries, 1 overlaps and 2 guesses"):
        SelfConsistent(nn.Identity())([0], [eye], [eye, eye])
    with pytest.raises(InputError, match="not \\(2, 2\\)"):
        SelfConsistent(lambda g, s, h: h[0])([0], [eye], [eye])
