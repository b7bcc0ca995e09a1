"""Quadratures on few points: what is kept exactly, and how the rest converges."""

import pytest
import torch

from deepchem_dft.xc.binning import merged, on_nodes


def cloud(axes: int, points: int = 300):
    """Return coordinates in the unit cube and weights of both signs, as quadratures have."""
    return (torch.rand(axes, points, dtype=torch.float64), torch.randn(points, dtype=torch.float64))


def test_merging_keeps_totals_and_means():
    x, _ = cloud(2)
    weights = torch.rand(300, dtype=torch.float64)
    few = merged(x, x, weights, [0.2, 0.3])
    assert few.points.shape[-1] < 60
    torch.testing.assert_close((few.points * few.weights).sum(1), (x * weights).sum(1))
    assert few.weights.sum().item() == pytest.approx(weights.sum().item())


def test_merging_is_right_to_second_order():
    x, _ = cloud(1, 5000)
    weights = torch.rand(5000, dtype=torch.float64)
    exact = (torch.sin(3 * x[0]) * weights).sum()
    errors = []
    for width in (0.2, 0.1, 0.05):
        few = merged(x, x, weights, [width])
        errors.append(abs((torch.sin(3 * few.points[0]) * few.weights).sum() - exact).item())
    assert 2.5 < errors[0] / errors[1] < 6 and 2.5 < errors[1] / errors[2] < 6


def test_a_bin_whose_weights_cancel_keeps_its_plain_mean():
    x = torch.tensor([[0.60, 0.62, 3.0]], dtype=torch.float64)
    few = merged(x, x, torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64), [1.0])
    torch.testing.assert_close(few.points, torch.tensor([[0.61, 3.0]], dtype=torch.float64))
    assert few.weights.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("shape", [(3,), (7, 4), (5, 3, 4, 6)])
def test_quadratics_are_integrated_exactly(shape):
    """Any product of polynomials of second degree, one in each coordinate."""
    x, weights = cloud(len(shape))
    c = torch.randn(3, len(shape), 1, dtype=torch.float64)

    def product(t):
        return (c[0] + c[1] * t + c[2] * t * t).prod(0)

    few = on_nodes(x, weights, shape)
    assert (product(few.points) * few.weights).sum().item() == pytest.approx(
        (product(x) * weights).sum().item(), abs=1e-10
    )


def test_the_rest_is_right_to_third_order():
    """Point by point: errors of different points could cancel."""
    x, one = torch.linspace(0.01, 0.99, 60, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def worst(nodes):
        spread = [on_nodes(at.reshape(1, 1), one, (nodes,)) for at in x]
        values = torch.stack([(torch.exp(2 * few.points[0]) * few.weights).sum() for few in spread])
        return (values - torch.exp(2 * x)).abs().max().item()

    errors = [worst(n) for n in (9, 17, 33)]
    assert errors[0] > 6 * errors[1] > 36 * errors[2]


def test_only_nodes_in_use_are_kept_and_they_are_on_the_grid():
    x = torch.tensor([[0.5, 0.5], [0.25, 0.0]], dtype=torch.float64)
    few = on_nodes(x, torch.tensor([2.0, 3.0], dtype=torch.float64), (5, 9))
    assert sorted((*p, w) for p, w in zip(few.points.T.tolist(), few.weights.tolist())) == [
        (0.5, 0.0, 3.0),
        (0.5, 0.25, 2.0),
    ]


def test_beyond_the_cube_counts_as_its_edge():
    inside = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    beyond = torch.tensor([[-0.02, 1.3]], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for a, b in zip(on_nodes(inside, weights, (5,)), on_nodes(beyond, weights, (5,)), strict=True):
        assert torch.equal(a, b)


def test_axes_without_a_number_of_nodes_are_an_error():
    with pytest.raises(ValueError):
        on_nodes(*cloud(2), (5,))
