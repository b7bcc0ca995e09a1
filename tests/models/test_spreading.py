"""Who solves what: even shares, few moves, each system once."""

from hypothesis import given
from hypothesis import strategies as st

from deepchem_dft.models.xc.spreading import rebalanced, spread, tasks_of

COSTS = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=7)


def longest(ranks, costs, size):
    loads = [0.0] * size
    for rank, cost in zip(ranks, costs, strict=True):
        loads[rank] += cost
    return max(loads)


@given(COSTS, st.integers(2, 4))
def test_shares_are_near_the_best_possible(costs, size):
    """Graham's bound for giving out the longest jobs first: 4/3 of the optimum at most."""
    found = longest(spread(costs, [0.0] * size), costs, size)
    best = longest_of_best(sorted(costs, reverse=True), [0.0] * size)
    assert found <= best * (4 / 3) + 1e-9


def longest_of_best(costs, loads, bound=float("inf")):
    """Return the shortest possible longest share, by trying everything that could be better."""
    if not costs:
        return max(loads)
    for rank in range(len(loads)):
        if loads[rank] in loads[:rank] or loads[rank] + costs[0] >= bound:
            continue
        more = [load + costs[0] * (r == rank) for r, load in enumerate(loads)]
        bound = min(bound, longest_of_best(costs[1:], more, bound))
    return bound


@given(COSTS, st.integers(2, 4), st.data())
def test_systems_move_only_where_a_tenth_is_gained(costs, size, data):
    before = data.draw(st.lists(st.integers(0, size - 1), min_size=len(costs), max_size=len(costs)))
    after = rebalanced(before, costs, size)
    assert after == before or longest(after, costs, size) < 0.9 * longest(before, costs, size)


def test_an_even_share_stays_as_it_is():
    assert rebalanced([0, 1, 0, 1], [2.0, 2.1, 2.0, 1.9], 2) == [0, 1, 0, 1]
    assert rebalanced([0, 0, 0, 0], [1.0] * 4, 2).count(1) == 2


def test_each_system_is_a_task_once(entries):
    tasks = tasks_of([*entries, *entries])
    assert [task.system.name for task in tasks] == ["H2", "H", "He", "He+"]
    assert all(task.wanted == [None] and not task.whole for task in tasks)
    assert [task.entry for task in tasks] == [entries[0], entries[0], entries[1], entries[1]]
