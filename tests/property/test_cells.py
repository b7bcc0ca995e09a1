"""Cells: bounded as promised, blind to other samples, with fixed points every solver finds."""

import pytest
import torch

from deepchem_dft.equilibrium import fixed_point
from deepchem_dft.errors import InputError
from deepchem_dft.property import DenseCell, GraphCell, ImageCell, collate
from deepchem_dft.property.cells import shrink

D = torch.float64


def _graph_case(graphs, **options):
    return GraphCell(5, 3, width=6, **options).to(D), collate(graphs, 5, 3)


def _cases(graphs, **options):
    torch.manual_seed(1)
    return {
        "graph": _graph_case(graphs, **options),
        "dense": (DenseCell(9, width=6, **options).to(D), torch.randn(5, 9, dtype=D)),
        "image": (ImageCell((2, 8, 8), width=4, **options).to(D), torch.randn(3, 2, 8, 8, dtype=D)),
    }


KINDS = ["graph", "dense", "image"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
def test_slope_is_below_the_bound(graphs, kind, layers):
    cell, batch = _cases(graphs, layers=layers, bound=0.7)[kind]
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            if "inject" in name or "encode" in name:
                parameter.mul_(1e-3)  # near the origin tanh has slope 1: the hardest case
            elif parameter.requires_grad:
                parameter.mul_(30)
    problem = cell.problem(batch)
    size = problem.start.numel()

    def flat(z):
        return problem.step(z.reshape(problem.start.shape), *problem.params).flatten()

    jacobian = torch.autograd.functional.jacobian(flat, torch.zeros(size, dtype=D))
    slope = torch.linalg.matrix_norm(jacobian, 2).item()
    assert slope <= 0.7 + 1e-9
    if kind != "image":  # there the bound counts every pixel of a window for itself
        assert slope > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_finds_the_same_fixed_point(graphs, kind):
    cell, batch = _cases(graphs, bound=0.9)[kind]
    problem = cell.problem(batch)
    states = []
    for solver in ("damped", "anderson", "broyden"):
        found = fixed_point(
            problem.step,
            problem.start,
            problem.params,
            solver=solver,
            tol=1e-12,
            max_iter=500,
            segments=problem.segments,
        )
        assert found.converged.all() and len(found.converged) == problem.samples
        states.append(found.state)
    assert (states[0] - states[1]).abs().max() < 1e-10
    assert (states[0] - states[2]).abs().max() < 1e-10
    assert states[0].abs().max() > 0.01


def test_graphs_do_not_feel_each_other(graphs):
    cell, batch = _graph_case(graphs)
    together = _solve(cell, batch)
    for number, graph in enumerate(graphs):
        alone = _solve(cell, collate([graph], 5, 3))
        assert (alone[0] - together[number]).abs().max() < 1e-10


def test_order_of_atoms_does_not_matter(graphs):
    cell, _ = _graph_case(graphs, pooling=("mean", "sum", "max", "attention"))
    graph = collate([graphs[2]], 5, 3)
    turn = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    place = torch.argsort(turn)
    turned = type(graph)(
        graph.nodes[turn], place[graph.source], place[graph.target], graph.edges, graph.sample, graph.overall
    )
    assert (_solve(cell, graph) - _solve(cell, turned)).abs().max() < 1e-10


def test_far_atoms_and_edges_are_felt(graphs):
    cell, _ = _graph_case(graphs)
    ring = graphs[2]
    before = _states(cell, collate([ring], 5, 3))
    ring.node_features[0, 0] += 1.0
    moved = (_states(cell, collate([ring], 5, 3)) - before).abs().amax(1)
    assert (moved > 1e-6).all()  # the other side of the ring is three bonds away
    ring.edge_features[0, 0] += 1.0
    assert (_states(cell, collate([ring], 5, 3)) - before).abs().max() > 1e-3


def _states(cell, batch):
    problem = cell.problem(batch)
    return fixed_point(
        problem.step, problem.start, problem.params, tol=1e-13, max_iter=500, segments=problem.segments
    ).state


def _solve(cell, batch):
    return cell.summary(_states(cell, batch), batch)


def test_shrinking_leaves_small_matrices_alone_and_is_differentiable():
    small = torch.eye(3, dtype=D) * 0.2
    assert shrink([small, small], 0.5)[0] is not None
    assert torch.equal(shrink([small, small], 0.5)[0], small)
    matrix = torch.randn(3, 3, dtype=D, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: shrink([m], 0.5)[0], matrix)


def test_without_bound_weights_are_used_as_they_are():
    matrix = torch.eye(2) * 100
    assert shrink([matrix], None)[0] is matrix


@pytest.mark.parametrize(
    "options", [{"layers": 0}, {"bound": 0.0}, {"pooling": ("median",)}, {"pooling": ()}]
)
def test_nonsense_is_refused(options):
    with pytest.raises(InputError):
        GraphCell(5, 3, **options)
