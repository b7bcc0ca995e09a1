"""Every sample by itself: stopping, batches, padding, structure of states."""

import pytest
import torch

from deepchem_dft.equilibrium import Status, fixed_point
from deepchem_dft.errors import InputError

SOLVERS = ["damped", "anderson", "broyden", "diis"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_comes_out_the_same_in_any_batch(solver):
    """Samples of very different difficulty, alone, together and shuffled."""
    generator = torch.Generator().manual_seed(3)
    W = torch.randn(6, 8, 8, generator=generator, dtype=torch.float64)
    strength = torch.tensor([0.05, 0.1, 0.2, 0.25, 0.5, 1.5], dtype=torch.float64)
    b = torch.randn(6, 8, generator=generator, dtype=torch.float64)

    def solve(rows):
        rows = torch.as_tensor(rows)
        found = fixed_point(
            lambda z: torch.tanh((strength[rows, None, None] * W[rows] @ z[:, :, None])[:, :, 0] + b[rows]),
            torch.zeros(len(rows), 8, dtype=torch.float64),
            solver=solver,
            tol=1e-10,
            max_iter=60,
        )
        return found.state, found.iterations, found.codes

    together = solve(range(6))
    assert len(set(together[1].tolist())) > 3
    order = [4, 0, 5, 2, 1, 3]
    shuffled = solve(order)
    for whole, part in zip(together, shuffled):
        torch.testing.assert_close(part, whole[torch.tensor(order)], rtol=0, atol=1e-12)
    for i in range(6):
        for whole, part in zip(together, solve([i])):
            torch.testing.assert_close(part, whole[i : i + 1], rtol=0, atol=1e-12)


def _graph(counts, order=None, seed=0):
    """A chain graph per sample: rows, their samples, and a map that mixes neighbours."""
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in counts]
    rows, group = torch.cat(features), torch.repeat_interleave(torch.tensor(counts))
    order = torch.arange(len(rows)) if order is None else order
    rows, group = rows[order], group[order]
    # Neighbours are wherever the rows went.
    place = torch.empty(len(order), dtype=torch.long)
    place[order] = torch.arange(len(order))
    starts = torch.cat([torch.zeros(1, dtype=torch.long), torch.tensor(counts).cumsum(0)[:-1]])
    left = torch.cat([torch.arange(s, s + n - 1) for s, n in zip(starts, counts)])
    source, target = place[left], place[left + 1]

    def f(z):
        message = torch.zeros_like(z).index_add(0, target, z[source])
        return torch.tanh(0.6 * message.index_add(0, source, z[target]) + rows)

    return f, torch.zeros_like(rows), group


@pytest.mark.parametrize("solver", SOLVERS)
def test_graphs_do_not_feel_padding_or_the_order_of_rows(solver):
    counts = [2, 7, 3]
    f, z, group = _graph(counts)
    together = fixed_point(f, z, solver=solver, segments=group, tol=1e-11)
    assert together.converged.tolist() == [True] * 3
    # Each graph alone: no padding at all.
    generator = torch.Generator().manual_seed(0)
    for i, n in enumerate(counts):
        x = torch.randn(n, 3, generator=generator, dtype=torch.float64)

        def chain(z, x=x):
            message = torch.zeros_like(z)
            message[1:] += z[:-1]
            message[:-1] += z[1:]
            return torch.tanh(0.6 * message + x)

        alone = fixed_point(
            chain, torch.zeros_like(x), solver=solver, tol=1e-11, segments=torch.zeros(n, dtype=torch.long)
        )
        torch.testing.assert_close(alone.state, together.state[group == i], rtol=0, atol=1e-12)
        assert alone.iterations.item() == together.iterations[i].item()
    order = torch.randperm(12, generator=generator)
    g, z, shuffled = _graph(counts, order)
    mixed = fixed_point(g, z, solver=solver, segments=shuffled, tol=1e-11)
    torch.testing.assert_close(mixed.state, together.state[order], rtol=0, atol=1e-12)


def test_stopped_samples_are_frozen():
    """The map is called with the very iterate at which a sample converged, ever after."""
    rates = torch.tensor([[0.1], [0.95]], dtype=torch.float64)
    seen = []

    def f(z):
        seen.append(z[0].item())
        return rates * z + 1.0

    with torch.no_grad():  # or the adjoint looks at the map once more
        found = fixed_point(
            f, torch.zeros(2, 1, dtype=torch.float64), solver="damped", tol=1e-6, max_iter=400
        )
    stopped = found.iterations[0].item()
    assert found.converged.all()
    assert stopped < found.evaluations == len(seen)
    assert set(seen[stopped - 1 :]) == {found.state[0].item()}
    assert found.history[:stopped, 0].isfinite().all()
    assert found.history[stopped:, 0].isnan().all()


def test_the_best_iterate_is_returned():
    """Damped iteration around a repelling fixed point only ever gets worse."""
    z0 = torch.tensor([[1.01]], dtype=torch.float64)
    found = fixed_point(lambda z: 3.0 * z - 2.0, z0, solver="damped", max_iter=9)
    assert found.status == [Status.MAX_ITERATIONS]
    assert found.state.item() == 1.01
    assert found.residual.item() == pytest.approx(0.02 / 1.03)


def test_states_may_be_nested():
    b = torch.tensor([0.3, 0.7], dtype=torch.float64)

    def f(state):
        n, (e, c) = state["n"], state["rest"]
        return {
            "n": 0.5 * torch.cos(n) + c.real.sum(1)[:, None, None],
            "rest": (0.5 * e + n.sum((1, 2))[:, None], 0.3j * c + b[:, None]),
        }

    z0 = {
        "n": torch.zeros(2, 3, 2, dtype=torch.float64),
        "rest": (torch.zeros(2, 1, dtype=torch.float32), torch.zeros(2, 4, dtype=torch.complex128)),
    }
    found = fixed_point(f, z0, tol=1e-6)
    assert found.converged.all()
    assert found.state["rest"][0].dtype == torch.float32
    torch.testing.assert_close(
        found.state["rest"][1], (b / (1 - 0.3j))[:, None].expand(2, 4), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(f(found.state)["n"], found.state["n"], rtol=1e-5, atol=1e-5)


def test_tensors_may_have_segments_of_their_own():
    """Nodes and edges of two graphs: three and one nodes, two and no edges."""
    nodes, edges = torch.tensor([0, 1, 0, 0]), torch.tensor([0, 0])
    z0 = {"e": torch.zeros(2, 2, dtype=torch.float64), "n": torch.zeros(4, dtype=torch.float64)}

    def f(z):
        return {"e": 0.5 * z["e"] + z["n"][[0, 2], None], "n": 0.1 * z["n"] + 1.0}

    found = fixed_point(f, z0, segments={"e": edges, "n": nodes}, tol=1e-10)
    assert found.converged.shape == (2,)
    torch.testing.assert_close(found.state["n"], torch.full((4,), 1 / 0.9, dtype=torch.float64))
    torch.testing.assert_close(found.state["e"], torch.full((2, 2), 2 / 0.9, dtype=torch.float64))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_comes_out_the_same_in_single_precision(solver):
    """Products in batches of another size round differently; no more than that may differ."""
    generator = torch.Generator().manual_seed(3)
    W = 0.15 * torch.randn(16, 16, generator=generator)
    b = torch.randn(37, 16, generator=generator)

    def solve(rows):
        found = fixed_point(
            lambda z: torch.tanh(z @ W + b[rows]), torch.zeros_like(b[rows]), solver=solver, tol=1e-6
        )
        assert found.converged.all()
        return found

    whole = solve(slice(None))
    for rows in (slice(0, 1), slice(5, 8), slice(20, 37)):
        part = solve(rows)
        torch.testing.assert_close(part.state, whole.state[rows], rtol=0, atol=4e-6)
        assert (part.iterations - whole.iterations[rows]).abs().max() <= 1


def test_an_empty_batch_is_no_error():
    for dtype in (torch.float32, torch.float16, torch.complex64):
        found = fixed_point(torch.cos, torch.zeros(0, 3, dtype=dtype), tol=1e-2)
        assert found.state.shape == (0, 3)
        assert found.status == []
    none = torch.zeros(0, dtype=torch.long)
    found = fixed_point(lambda s: {"a": torch.cos(s["a"])}, {"a": torch.zeros(0, 3)}, segments=none, tol=1e-5)
    assert found.state["a"].shape == (0, 3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_without_numbers_have_converged(solver):
    w = torch.tensor(0.5, requires_grad=True)
    found = fixed_point(lambda z, w: w * z, torch.zeros(3, 0), (w,), solver=solver, tol=1e-5)
    assert found.status == [Status.CONVERGED] * 3
    assert found.evaluations == 1
    found.state.sum().backward()
    assert w.grad == 0.0
    # The middle one of three graphs has no nodes.
    nodes, b = torch.tensor([0, 2, 2]), torch.ones(3, 2)
    found = fixed_point(lambda z: 0.5 * z + b, torch.zeros(3, 2), solver=solver, segments=nodes, tol=1e-5)
    assert found.converged.tolist() == [True] * 3
    assert found.iterations[1] == 1
    torch.testing.assert_close(found.state, torch.full((3, 2), 2.0), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    ("f", "z0", "segments", "message"),
    [
        (torch.cos, torch.zeros(2, 2, dtype=torch.long), None, "floating-point"),
        (torch.cos, torch.tensor(1.0), None, "leading batch dimension"),
        (torch.cos, [torch.zeros(2, 1), torch.zeros(3, 1)], None, "2 and 3 rows"),
        (torch.cos, [torch.zeros(2, 1), "a"], None, "holds a str"),
        (torch.cos, [], None, "empty"),
        (lambda z: z[:1], torch.zeros(2, 2), None, "shape"),
        (lambda z: [z], torch.zeros(2, 2), None, "structure"),
        (lambda z: z.numpy(), torch.zeros(2, 2), None, "returned a ndarray"),
        (lambda z: 1j * z, torch.zeros(2, 2), None, "complex"),
        (torch.cos, torch.zeros(3, 2), torch.tensor([0, 1]), "do not assign 3 rows"),
        (torch.cos, torch.zeros(2, 2), torch.tensor([0, -1]), "do not assign"),
        (torch.cos, torch.zeros(2, 2), torch.tensor([0.0, 1.0]), "do not assign"),
        (torch.cos, torch.zeros(2, 2), [torch.tensor([0, 1])], "structured differently"),
    ],
)
def test_states_that_cannot_be_used(f, z0, segments, message):
    with pytest.raises(InputError, match=message):
        fixed_point(f, z0, segments=segments, tol=1e-5)
