"""Graphs of crystals: shells known from geometry, invariance, errors with the name."""

import itertools
import pickle

import numpy as np
import pytest

from deepchem_dft.data.properties.atoms import neighbours
from deepchem_dft.data.properties.crystal_graph import CrystalGraphFeaturizer, gaussians
from deepchem_dft.data.properties.records import Crystal
from deepchem_dft.errors import InputError

EDGE = 5.64


def rocksalt(shift: float = 0.0) -> Crystal:
    return Crystal.create(
        "NaCl", ["Na", "Cl"], [[shift] * 3, [0.5 + shift] * 3], EDGE / 2 * (np.ones((3, 3)) - np.eye(3))
    )


def skewed() -> Crystal:
    """A crystal without symmetry."""
    rng = np.random.default_rng(1)
    cell = np.diag([4.0, 5.0, 6.0]) + rng.normal(0, 0.5, (3, 3))
    return Crystal.create("skewed", ["Ti", "O", "O", "Sr", "O"], rng.random((5, 3)), cell)


def environments(crystal: Crystal, **options) -> list:
    """Return, for each atom, its element and the sorted elements and distances around it."""
    graph = CrystalGraphFeaturizer(elements="number", **options).featurize([crystal])[0]
    numbers = graph.node_features.ravel()
    around: list[list] = [[] for _ in numbers]
    for (source, target), row in zip(graph.edge_index.T, graph.edge_features, strict=True):
        around[target].append((numbers[source], *row.round(6)))
    return sorted((number, sorted(a)) for number, a in zip(numbers, around, strict=True))


def test_shells_of_rocksalt():
    graph = CrystalGraphFeaturizer(max_neighbors=6).featurize([rocksalt()])[0]
    source, target = graph.edge_index
    assert np.bincount(target).tolist() == [6, 6] and (source != target).all()
    graph = CrystalGraphFeaturizer(max_neighbors=7).featurize([rocksalt()])[0]
    source, target = graph.edge_index
    # Six of the other kind at a/2, then twelve of the own kind at a/sqrt(2), taken whole.
    assert np.bincount(target).tolist() == [18, 18]
    assert (source == target).sum() == 24
    own = graph.edge_features[source == target]
    assert own == pytest.approx(np.tile(gaussians(np.array([EDGE / 2**0.5]), 8.0, 0.2), (24, 1)))
    assert graph.node_features[0].argmax() + 1 == 11 and graph.node_features.sum() == 2


def test_all_neighbours_are_found_as_by_counting_images():
    crystal, radius = skewed(), 5.0
    graph = CrystalGraphFeaturizer(radius=radius, max_neighbors=10_000).featurize([crystal])[0]
    counted = np.zeros((5, 5), dtype=int)
    for image in itertools.product(range(-4, 5), repeat=3):
        moved = crystal.positions + np.array(image) @ crystal.cell
        distance = np.linalg.norm(crystal.positions[:, None] - moved[None], axis=-1)
        counted += (distance < radius) & (distance > 1e-8)
    found = np.zeros((5, 5), dtype=int)
    np.add.at(found, (graph.edge_index[1], graph.edge_index[0]), 1)
    assert (found == counted).all() and counted.sum() > 50


@pytest.mark.parametrize("density", [0.005, 0.05, 0.5])
def test_the_nearest_neighbours_are_those_of_all_within_the_radius(density):
    """Whatever the density, from which the distance that is searched first is guessed."""
    rng = np.random.default_rng(3)
    cell = np.diag([1.0, 1.2, 0.7]) * (9 / density / 0.84) ** (1 / 3)
    crystal = Crystal.create("random", ["C"] * 9, rng.random((9, 3)), cell)
    every = CrystalGraphFeaturizer(max_neighbors=10**6).featurize([crystal])[0]
    nearest = CrystalGraphFeaturizer(max_neighbors=12).featurize([crystal])[0]
    distances = neighbours(crystal.cell, crystal.positions, 8.0)
    for atom in range(9):
        mine = np.sort(distances[2][distances[0] == atom])
        assert (every.edge_index[1] == atom).sum() == len(mine)
        expected = (mine <= mine[min(12, len(mine)) - 1] + 0.01).sum()
        assert (nearest.edge_index[1] == atom).sum() == expected


@pytest.mark.parametrize("limit", [1, 4, 12])
def test_the_graph_does_not_depend_on_origin_order_axes_or_cell(limit):
    crystal = skewed()
    expected = environments(crystal, max_neighbors=limit)
    order = [3, 1, 4, 0, 2]
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    same = [
        Crystal("moved", crystal.numbers, crystal.positions + [0.3, -9.0, 2.2], crystal.cell),
        Crystal("reordered", crystal.numbers[order], crystal.positions[order], crystal.cell),
        Crystal("turned", crystal.numbers, crystal.positions @ turn, crystal.cell @ turn),
        Crystal(
            "other axes",
            crystal.numbers,
            crystal.positions,
            np.array([[1, 0, 0], [1, 1, 0], [0, -2, 1]]) @ crystal.cell,
        ),
    ]
    for other in same:
        assert environments(other, max_neighbors=limit) == expected, other.name


def test_a_doubled_cell_has_the_same_environments_twice():
    for crystal in (rocksalt(), skewed()):
        double = Crystal(
            "double",
            np.tile(crystal.numbers, 2),
            np.concatenate([crystal.positions, crystal.positions + crystal.cell[1]]),
            crystal.cell * [[1], [2], [1]],
        )
        once = environments(crystal)
        assert environments(double) == sorted([*once, *once])


def test_cells_of_ase(tmp_path):
    """Coordination numbers of textbook structures."""
    from ase.build import bulk

    for name, structure, count in (("Cu", "fcc", 12), ("Fe", "bcc", 8), ("Si", "diamond", 4)):
        atoms = bulk(name, structure)
        crystal = Crystal.create(
            name, atoms.get_chemical_symbols(), atoms.get_scaled_positions(), atoms.cell.array
        )
        graph = CrystalGraphFeaturizer(max_neighbors=1).featurize(crystal)[0]
        assert set(np.bincount(graph.edge_index[1])) == {count}, name


def test_gaussians_peak_at_the_distance():
    features = gaussians(np.array([0.0, 2.6, 8.0]), 8.0, 0.2)
    assert features.shape == (3, 41)
    assert features.argmax(axis=1).tolist() == [0, 13, 40]
    assert features.max(axis=1) == pytest.approx(1)


def test_featurizer_is_deepchems_and_survives_pickling():
    import deepchem as dc

    made = CrystalGraphFeaturizer(radius=5.0, elements="number")
    again = pickle.loads(pickle.dumps(made))
    graph = again(np.array([rocksalt()], dtype=object))[0]
    assert isinstance(graph, dc.feat.GraphData) and graph.node_features.tolist() == [[11], [17]]
    assert "radius=5.0" in repr(made)


class TestMisuse:
    def test_an_atom_alone(self):
        crystal = Crystal.create("lonely", ["He"], [[0, 0, 0]], 9 * np.eye(3))
        with pytest.raises(InputError, match="entry lonely.*atom 1 has no neighbour within 8 Ang"):
            CrystalGraphFeaturizer().featurize([rocksalt(), crystal])
        assert CrystalGraphFeaturizer(radius=9.1).featurize([crystal])[0].num_edges == 6

    def test_coincident_atoms(self):
        crystal = Crystal.create("twice", ["He", "He"], [[0, 0, 0], [1, 0, 0.01]], 5 * np.eye(3))
        with pytest.raises(InputError, match="entry twice.*atoms 1 and 2 coincide"):
            CrystalGraphFeaturizer().featurize([crystal])

    def test_something_else(self):
        with pytest.raises(InputError, match="str is no crystal"):
            CrystalGraphFeaturizer().featurize(["NaCl"])

    def test_elements_beyond_the_table(self):
        with pytest.raises(InputError, match="entry x, field 'sites': 'Zz' .atom 2. is no element"):
            Crystal.create("x", ["H", "Zz"], np.zeros((2, 3)), np.eye(3))
        heavy = Crystal.create("og", ["Og"], [[0, 0, 0]], 3 * np.eye(3))
        with pytest.raises(InputError, match="entry og.*beyond lawrencium"):
            CrystalGraphFeaturizer().featurize([heavy])

    @pytest.mark.parametrize(
        "options", [{"radius": 0.0}, {"step": -1.0}, {"max_neighbors": 0}, {"elements": "colour"}]
    )
    def test_options(self, options):
        with pytest.raises(InputError):
            CrystalGraphFeaturizer(**options)
