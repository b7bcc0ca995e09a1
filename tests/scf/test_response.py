"""Response equations and lowest modes of matrices whose answers are known; soft modes stay out."""

import pytest
import torch

from deepchem_dft.errors import ResponseNotConverged
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import solve
from deepchem_dft.scf.response import OrbitalHessian, SoftModes, lowest_modes, soft_modes, solve_response
from deepchem_dft.scf.search.stability import follow_instabilities
from deepchem_dft.xc import get_xc


class Matrix:
    """Stands for an orbital Hessian: a symmetric matrix of given eigenvalues, nearly diagonal."""

    def __init__(self, eigenvalues: list[float], seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.size = len(eigenvalues)
        noise = 0.03 * torch.randn(self.size, self.size, generator=draw, dtype=torch.float64)
        self.vectors = torch.matrix_exp(noise - noise.mT)  # columns
        self.values = torch.tensor(eigenvalues, dtype=torch.float64)
        self.matrix = (self.vectors * self.values) @ self.vectors.T
        self.diagonal = self.matrix.diagonal().clone()
        self.products = 0

    def __call__(self, vector):
        self.products += 1
        return self.matrix @ vector


STIFF = torch.linspace(0.3, 3.0, 60).tolist()


def test_lowest_modes_are_those_of_a_dense_solver():
    hessian = Matrix([-0.1, 0.02, 0.03, 0.2, *STIFF])
    values, vectors = lowest_modes(hessian, 4, tol=1e-8)
    torch.testing.assert_close(values, hessian.values[:4], rtol=0, atol=1e-12)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4, dtype=torch.float64))
    overlap = (vectors @ hessian.vectors[:, :4]).abs()
    torch.testing.assert_close(overlap, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-6)
    assert hessian.products < 56


def test_lowest_modes_of_few_or_no_rotations():
    values, vectors = lowest_modes(Matrix([0.5, 0.7]), 4)
    torch.testing.assert_close(values, torch.tensor([0.5, 0.7], dtype=torch.float64))
    assert vectors.shape == (2, 2)
    values, vectors = lowest_modes(Matrix([]), 4)
    assert values.shape == (0,) and vectors.shape == (0, 0)


def test_lowest_modes_stop_at_their_budget():
    hessian = Matrix([*torch.linspace(0.1, 0.11, 90).tolist()])
    lowest_modes(hessian, 4, tol=1e-14, max_products=30)
    assert 30 <= hessian.products < 36


@pytest.mark.parametrize("soft", [[], [2e-5], [-3e-5, 1e-7], [1e-6] * 9])
def test_soft_modes_are_all_found(soft):
    """Also where there are more than are looked for at first."""
    hessian = Matrix([*soft, 2e-4, *STIFF, *STIFF, *STIFF])
    found = soft_modes(hessian)
    torch.testing.assert_close(
        found.eigenvalues, torch.tensor(sorted(soft), dtype=torch.float64), rtol=0, atol=1e-9
    )
    space = hessian.vectors[:, : len(soft)]
    torch.testing.assert_close(found.vectors.T @ found.vectors, space @ space.T, rtol=0, atol=1e-4)


def test_a_saddle_point_is_spoken_of():
    with pytest.warns(UserWarning, match="saddle point .*-5.00e-02 Ha.*stability=True"):
        found = soft_modes(Matrix([-0.05, 1e-6, *STIFF]))
    assert found.eigenvalues.tolist() == pytest.approx([1e-6], abs=1e-9)


@pytest.mark.parametrize("soft", [0, 1, 3])
def test_response_is_the_pseudo_inverse(soft):
    """In the complement of the soft modes; in these there is no response at all."""
    hessian = Matrix([*[1e-9] * soft, *STIFF])
    modes = SoftModes(hessian.vectors[:, :soft].T, hessian.values[:soft]) if soft else None
    draw = torch.Generator().manual_seed(1)
    right = torch.randn(hessian.size, generator=draw, dtype=torch.float64)
    found = solve_response(hessian, right, modes)
    inverse = (hessian.vectors[:, soft:] / hessian.values[soft:]) @ hessian.vectors[:, soft:].T
    torch.testing.assert_close(found, inverse @ right, rtol=0, atol=1e-8)
    assert (hessian.vectors[:, :soft].T @ found).abs().sum() < 1e-9
    assert hessian.products < 40
    assert not solve_response(hessian, torch.zeros_like(right), modes).any()


def test_response_that_does_not_converge_is_refused():
    hessian = Matrix(STIFF)
    with pytest.raises(ResponseNotConverged, match="relative residual .*stability=True"):
        solve_response(hessian, torch.ones(hessian.size, dtype=torch.float64), None, max_iter=3)
    assert hessian.products == 3


def test_an_atom_does_not_respond_by_turning(neural):
    """The gradient is that of what is measured without its part along the soft modes.

    Left in, rounding errors of a force that vanishes by symmetry are divided by 1e-6 Ha.
    """
    atom = Molecule("F 0 0 0", basis="6-31g", grid_level=1, spin=1)
    functional = neural("lda,pw", "lda")
    result = KohnSham(atom, functional, tol=1e-9, max_iter=600).run()
    soft = result._context.soft
    assert len(soft.vectors) >= 1
    hessian = result._context.hessian
    changes = torch.stack([hessian.density_change(v).flatten() for v in soft.vectors])
    draw = torch.Generator().manual_seed(3)
    matrix = torch.randn(2, atom.nao, atom.nao, generator=draw, dtype=torch.float64)
    matrix = matrix + matrix.mT
    shares = torch.linalg.lstsq(changes.T, matrix.flatten()[:, None]).solution
    along = (changes.T @ shares).reshape(matrix.shape)
    assert along.norm() > 0.1 * matrix.norm()

    def slopes(measured):
        found = torch.autograd.grad(
            (result.density_matrix * measured).sum(), list(functional.parameters()), retain_graph=True
        )
        return torch.cat([slope.flatten() for slope in found])

    whole, without = slopes(matrix), slopes(matrix - along)
    torch.testing.assert_close(whole, without, rtol=1e-6, atol=1e-6 * float(without.abs().max()))


def test_a_saddle_is_left_downhill_and_a_minimum_is_not():
    """Stretched H2: the closed shell is a saddle of the unrestricted energy; two atoms are not."""

    def field(distance: float) -> KSHamiltonian:
        molecule = Molecule(f"H 0 0 0; H 0 0 {distance}", "sto-3g", grid_level=0)
        return KSHamiltonian(molecule, get_xc("pbe"), restricted=False)

    stretched = field(6.0)
    saddle = solve(stretched, tol=1e-7)
    hessian = OrbitalHessian(stretched, saddle)
    dense = torch.stack([hessian(v) for v in torch.eye(hessian.size, dtype=torch.float64)])
    assert torch.linalg.eigvalsh(dense)[0] < -0.01
    kept, mode = follow_instabilities(stretched, saddle, tol=1e-7, max_iter=100, rounds=0)
    assert kept is saddle
    found, mode = follow_instabilities(stretched, saddle, tol=1e-7, max_iter=100)
    atom = KohnSham(Molecule("H 0 0 0", "sto-3g", spin=1, grid_level=0), "pbe").run().energy.item()
    assert found.evaluation.energy == pytest.approx(2 * atom, abs=2e-3)
    assert found.evaluation.energy < saddle.evaluation.energy - 0.02 and mode > 0
    assert found.residual < 1e-7 and found.iterations > saddle.iterations
    bonded = field(1.4)
    minimum = solve(bonded, tol=1e-7)
    kept, mode = follow_instabilities(bonded, minimum, tol=1e-7, max_iter=100)
    hessian = OrbitalHessian(bonded, minimum)
    dense = torch.stack([hessian(v) for v in torch.eye(hessian.size, dtype=torch.float64)])
    assert kept is minimum
    assert mode == pytest.approx(float(torch.linalg.eigvalsh(dense)[0]), abs=1e-6)
