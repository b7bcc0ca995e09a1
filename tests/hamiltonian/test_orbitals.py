"""Orders of orbitals, against textbook functions, rotations and the published permutations."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.orbitals import E3NN_AXES, orbital_layout
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample

from .harmonics import orca, rotation

POSITIONS = np.array([[0.1, -0.2, 0.3], [1.1, 0.9, -1.0], [-1.5, 0.4, 1.2]])


def molecule(positions=POSITIONS, numbers=(16, 1, 1), basis="def2-tzvp"):
    return HamiltonianSample(numbers, positions, basis, xc="pbe")


@pytest.mark.parametrize("number", [1, 8, 16])
def test_md17_order_is_that_of_the_textbook_functions(number):
    """Divided by its solid harmonic, each orbital of a shell leaves the same radial function."""
    layout = orbital_layout([number], "def2-tzvp")
    mole = Reference(molecule(np.zeros((2, 3)) + [[0], [9]], (number, number))).mole
    points = np.random.default_rng(1).uniform(0.05, 0.4, (25, 3)) * [1, -1, 1]
    values = mole.eval_gto("GTOval_sph", points).T[: layout.nao]
    values = layout.md17.signs[:, None] * values[layout.md17.indices]
    for shell in layout.shells:
        radial = values[shell.slice] / orca(shell.momentum, points)
        assert np.abs(radial).max() > 1e-6
        np.testing.assert_allclose(radial, np.broadcast_to(radial[0], radial.shape), rtol=1e-10)


def test_matrices_in_md17_order_turn_with_the_molecule():
    turn = Rotation.random(random_state=3).as_matrix()
    before, after = Reference(molecule()), Reference(molecule(POSITIONS @ turn.T))
    layout = orbital_layout([16, 1, 1], "def2-tzvp")
    whole = block_diag(*(rotation(shell.momentum, turn) for shell in layout.shells))
    for name in ("overlap", "core"):
        matrix = layout.md17.from_pyscf(getattr(before, name))
        turned = layout.md17.from_pyscf(getattr(after, name))
        np.testing.assert_allclose(whole @ matrix @ whole.T, turned, atol=1e-9)
        assert np.abs(matrix - turned).max() > 0.01


def test_matrices_in_e3nn_order_turn_as_its_representations():
    o3 = pytest.importorskip("e3nn.o3")
    turn = Rotation.random(random_state=4).as_matrix()
    before, after = Reference(molecule()), Reference(molecule(POSITIONS @ turn.T))
    layout = orbital_layout([16, 1, 1], "def2-tzvp")
    axes = list(E3NN_AXES)
    angles = o3.matrix_to_angles(torch.from_numpy(turn[np.ix_(axes, axes)]))
    whole = block_diag(*(o3.wigner_D(s.momentum, *angles).numpy() for s in layout.shells))
    for name in ("overlap", "core"):
        matrix = layout.e3nn.from_pyscf(getattr(before, name))
        turned = layout.e3nn.from_pyscf(getattr(after, name))
        np.testing.assert_allclose(whole @ matrix @ whole.T, turned, atol=5e-6)


def test_md17_to_e3nn_is_the_published_permutation():
    """PhiSNet and QHNet: sssppd for C, N, O; p (2, 0, 1), d (4, 2, 0, 1, 3); all signs positive."""
    layout = orbital_layout([8, 1], "def2-svp")
    expected = []
    for shell in layout.shells:
        expected += [shell.start + i for i in ([0], [2, 0, 1], [4, 2, 0, 1, 3])[shell.momentum]]
    matrix = np.random.default_rng(2).random((layout.nao, layout.nao))
    moved = layout.e3nn.from_pyscf(layout.md17.to_pyscf(matrix))
    np.testing.assert_array_equal(moved, matrix[np.ix_(expected, expected)])


@pytest.mark.parametrize("order", ["md17", "e3nn"])
def test_orders_lead_back(order):
    layout = orbital_layout([8, 17], "def2-tzvp")
    matrix = np.random.default_rng(5).random((2, layout.nao, layout.nao))
    other = getattr(layout, order)
    np.testing.assert_array_equal(other.to_pyscf(other.from_pyscf(matrix)), matrix)


def test_layout_agrees_with_pyscf():
    reference = Reference(molecule())
    layout = orbital_layout([16, 1, 1], "def2-tzvp")
    assert layout.nao == reference.mole.nao_nr()
    labels = reference.mole.ao_labels(fmt=None)
    assert layout.atom.tolist() == [label[0] for label in labels]
    assert layout.momentum.tolist() == ["spdf".index(label[2][-1]) for label in labels]
    assert layout.starts.tolist() == [0, *reference.mole.aoslice_by_atom()[:, 3]]


@pytest.mark.parametrize(
    ("numbers", "basis", "field"),
    [
        ([8], "def2-qzvp", "basis"),
        ([8], "def2-tzvpx", "basis"),
        ([0], "sto-3g", "numbers"),
        ([199], "sto-3g", "numbers"),
        ([92], "def2-svp", "basis"),
    ],
)
def test_what_cannot_be_laid_out(numbers, basis, field):
    with pytest.raises(InputError) as caught:
        orbital_layout(numbers, basis)
    assert caught.value.field == field
