"""The whole network, with random weights: every symmetry of space, in PySCF's order of orbitals."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.expansion import Expansion
from deepchem_dft.hamiltonian.graph import make_graph
from deepchem_dft.hamiltonian.orbitals import orbital_layout

from .networks import CUTOFF, Model, elements, moved, orbitals_turned, sample

TURN = Rotation.random(random_state=7).as_matrix()
ACTIONS = {"rotation": TURN, "inversion": -np.eye(3), "reflection": TURN @ np.diag([1.0, 1.0, -1.0])}
#: s and p of H, s to d of O and N, f functions, a molecule with an element of the third row.
CASES = [("water", "def2-svp"), ("ammonia", "def2-svp"), ("water", "def2-tzvp"), ("thiol", "def2-svp")]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def molecule(request):
    return sample(*request.param)


@pytest.mark.parametrize("equilibrium", [False, True], ids=["plain", "equilibrium"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_prediction_turns_with_the_molecule(molecule, dtype, equilibrium):
    model = Model([molecule], dtype, equilibrium)
    (before,) = model.predict(molecule)
    assert np.abs(before).max() > 0.05
    np.testing.assert_array_equal(before, before.T)
    for name, action in ACTIONS.items():
        (after,) = model.predict(moved(molecule, molecule.positions @ action.T))
        u = orbitals_turned(molecule, action)
        error = np.abs(u @ before @ u.T - after).max()
        assert error < TOLERANCE[dtype], name
        assert np.abs(before - after).max() > 1e-3, name
    if equilibrium:
        assert bool(model.found.converged.all())


@pytest.mark.parametrize("equilibrium", [False, True], ids=["plain", "equilibrium"])
def test_prediction_stays_when_the_molecule_is_shifted(molecule, equilibrium):
    model = Model([molecule], equilibrium=equilibrium)
    (before,) = model.predict(molecule)
    (after,) = model.predict(moved(molecule, molecule.positions + [3.0, -7.0, 2.0]))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-10)


@pytest.mark.parametrize("equilibrium", [False, True], ids=["plain", "equilibrium"])
def test_order_of_the_atoms_is_that_of_the_blocks(molecule, equilibrium):
    model = Model([molecule], equilibrium=equilibrium)
    (before,) = model.predict(molecule)
    order = np.random.default_rng(1).permutation(len(molecule.numbers))
    other = sample(molecule.name, molecule.basis)
    other.numbers, layout = molecule.numbers[order], orbital_layout(molecule.numbers, other.basis)
    (after,) = model.predict(moved(other, molecule.positions[order]))
    rows = np.concatenate([np.arange(*layout.starts[i : i + 2]) for i in order])
    np.testing.assert_allclose(after, before[np.ix_(rows, rows)], rtol=0, atol=1e-10)


def test_overlap_and_core_hamiltonian_turn_through_the_same_components(molecule):
    """Atoms: components turn by Wigner matrices. Pairs: in their own frames nothing changes but
    the angle about the axis, so the length of every (l, |m|) stays."""
    known = Elements.of(molecule.numbers, molecule.basis)
    expansion, layout = Expansion(known).double(), known.layout
    turned = moved(molecule, molecule.positions @ TURN.T)
    whole = layout.rotation(torch.from_numpy(TURN))
    for name in ("overlap", "core"):
        parts = []
        for one in (molecule, turned):
            graph = make_graph(one.numbers, one.positions, known, CUTOFF)
            matrix = getattr(one, name)
            parts.append(expansion.to_parts(graph, elements(matrix, graph)))
            back = torch.zeros(graph.n_elements, dtype=torch.float64)
            back[graph.place] = expansion.to_elements(graph, parts[-1])
            np.testing.assert_allclose(back.view(matrix.shape), matrix, rtol=0, atol=1e-12)
        for group, part in parts[0].items():
            if graph.is_pair[group]:
                for l in range(layout.lmax + 1):
                    for m in range(l + 1):
                        here = (layout.l == l) & (layout.m.abs() == m)
                        lengths = [p[group][:, here].norm(dim=1) for p in parts]
                        torch.testing.assert_close(*lengths, rtol=0, atol=1e-10)
                # A one-electron integral of two centres is invariant under rotation about the
                # axis only in part (the field of other nuclei), the overlap entirely.
                if name == "overlap":
                    assert float(part[:, layout.m != 0].abs().max()) < 1e-12
            else:
                torch.testing.assert_close(whole @ part, parts[1][group], rtol=0, atol=1e-10)
