"""Davidson's method against dense diagonalisation; how many products it takes, and when it gives up."""

import pytest
import torch

from deepchem_dft.davidson import lowest


def applied(matrix, seen=None):
    def apply(vector):
        if seen is not None:
            seen.append(vector)
        return matrix @ vector

    return apply


NUMBERS = torch.arange(60, dtype=torch.float64)
NEARLY_DIAGONAL = torch.diag(NUMBERS) + 0.3 * torch.cos(NUMBERS[:, None] + NUMBERS)


@pytest.mark.parametrize("count", [1, 3])
def test_finds_the_lowest_with_few_products(count):
    seen: list = []
    start = torch.eye(60, dtype=torch.float64)[: 2 * count] + 0.1
    values, vectors, residuals = lowest(
        applied(NEARLY_DIAGONAL, seen), NEARLY_DIAGONAL.diagonal(), start, count, tol=1e-8, max_products=60
    )
    exact, columns = torch.linalg.eigh(NEARLY_DIAGONAL)
    torch.testing.assert_close(values, exact[:count], rtol=0, atol=1e-12)
    assert float(residuals.max()) < 1e-8
    overlap = (vectors @ columns[:, :count]).abs()
    torch.testing.assert_close(overlap, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-8)
    assert len(seen) < 14 * count


def test_survives_a_full_subspace():
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(200, 200, generator=draw, dtype=torch.float64)
    matrix = matrix + matrix.T  # nothing to precondition with
    start = torch.ones(1, 200, dtype=torch.float64)
    values, _, residuals = lowest(
        applied(matrix), torch.ones(200), start, tol=1e-6, max_products=2000, subspace=24
    )
    assert float(residuals[0]) < 1e-6
    assert float(values[0]) == pytest.approx(float(torch.linalg.eigvalsh(matrix)[0]), abs=1e-9)


def test_a_symmetry_is_kept():
    """The lowest state of the other symmetry comes in by rounding, unless it is projected out."""
    odd = torch.tensor([1.0, -1.0] * 30, dtype=torch.float64)
    matrix = torch.where((odd[:, None] * odd) > 0, NEARLY_DIAGONAL, 0.0)  # even and odd numbers do not mix
    start = (odd < 0).double()[None]
    values, vectors, _ = lowest(
        applied(matrix), matrix.diagonal(), start, tol=1e-9, max_products=99, project=lambda v: v * (odd < 0)
    )
    own = torch.linalg.eigvalsh(matrix[1::2, 1::2])[0]
    assert float(values[0]) == pytest.approx(float(own), abs=1e-12)
    assert float(own) > float(torch.linalg.eigvalsh(matrix)[0]) + 0.5
    assert not vectors[0, ::2].any()


@pytest.mark.parametrize("start", [torch.eye(3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64)])
def test_a_small_or_a_dependent_start_comes_to_an_end(start):
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    values, _, residuals = lowest(applied(matrix), matrix.diagonal(), start, tol=1e-12, max_products=50)
    assert float(values[0]) == pytest.approx(1.0, abs=1e-12) and float(residuals[0]) < 1e-12


def test_what_has_not_converged_says_so_by_its_residual():
    values, _, residuals = lowest(
        applied(NEARLY_DIAGONAL),
        NEARLY_DIAGONAL.diagonal(),
        torch.ones(1, 60).double(),
        tol=1e-9,
        max_products=3,
    )
    assert float(residuals[0]) > 1e-9 and values.shape == (1,)
