"""Starts foreseen from earlier geometries: closer than the last solution, and of no consequence."""

import numpy as np
import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.guess import GuessExtrapolation


def water(step, turn=0.0, **options):
    """Geometry of a smooth motion in all three coordinates, and a turn of the whole."""
    t = 0.1 * step
    a, b, angle = 1.81 + 0.1 * np.sin(t), 1.81 + 0.08 * np.cos(1.3 * t), 1.82 + 0.1 * np.sin(0.7 * t)
    flat = np.array([[0, 0, 0], [0, 0, a], [0, b * np.sin(angle), b * np.cos(angle)]])
    cos, sin = np.cos(turn * t), np.sin(turn * t)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return Molecule((["O", "H", "H"], flat @ rotation.T), "6-31g", grid_level=0, **options)


def follow(molecules, xc="pbe", length=12):
    """Return the results, and how far each guess's density matrix was off."""
    starts, results, errors = GuessExtrapolation(length), [], []
    for molecule in molecules:
        guess = starts.guess(molecule)
        results.append(KohnSham(molecule, xc).run(guess=guess))
        if guess is not None:
            off = guess.density_matrix() - results[-1].state.density_matrix()
            errors.append(float(off.norm()))
        starts.add(results[-1])
    return results, errors


@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("ion", [{}, {"charge": 1, "spin": 1}])
def test_it_is_closer_than_the_last_solution_and_the_answer_is_that_of_a_cold_start(turn, ion):
    path = [water(step, turn, **ion) for step in range(14)]
    results, errors = follow(path)
    kept, last = follow(path, length=1)
    assert np.mean(errors[6:]) < 0.05 * np.mean(last[6:])
    builds, before = (sum(r.iterations for r in found[7:]) for found in (results, kept))
    assert builds < before / 1.4
    for result, molecule in list(zip(results, path))[-3:]:
        cold = KohnSham(molecule, "pbe").run()
        assert float(result.energy.detach()) == pytest.approx(float(cold.energy.detach()), abs=1e-9)
        occupied = result.state.orbitals * result.state.occupations[:, None, :].sqrt()
        metric = occupied.mT @ molecule.overlap @ occupied
        assert torch.allclose(metric.diagonal(dim1=1, dim2=2), result.state.occupations, atol=1e-10)


def test_a_guess_is_a_determinant_with_the_molecules_electrons():
    path = [water(step) for step in range(4)]
    starts = GuessExtrapolation()
    assert starts.guess(path[0]) is None
    for molecule in path[:3]:
        starts.add(KohnSham(molecule, "pbe").run())
    guess, overlap = starts.guess(path[3]), path[3].overlap
    density = guess.density_matrix()[0]
    assert float((density * overlap).sum()) == pytest.approx(10.0, abs=1e-10)
    assert torch.allclose(density @ overlap @ density, 2.0 * density, atol=1e-10)


def test_the_same_geometry_again_is_its_own_guess():
    path = [water(0), water(1), water(0)]
    _, errors = follow(path)
    assert errors[-1] < 1e-4 * errors[0]


def test_far_away_it_is_no_worse_than_a_start_from_the_last():
    path = [water(0), water(1), water(2), water(40, turn=0.3)]
    results, errors = follow(path)
    kept, last = follow(path, length=1)
    assert errors[-1] < 1.5 * last[-1]
    assert float(results[-1].energy) == pytest.approx(float(kept[-1].energy), abs=1e-9)


def test_another_basis_or_state_is_not_mixed_in():
    starts = GuessExtrapolation()
    for step in range(3):
        starts.add(KohnSham(water(step), "pbe").run())
    other = Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0)
    with pytest.warns(UserWarning, match="starting H2 afresh"):
        assert KohnSham(other, "pbe").run(guess=starts.guess(other)).converged
    ion = water(3, charge=1, spin=1)
    starts.add(KohnSham(ion, "pbe").run())
    state = starts.guess(water(4, charge=1, spin=1))
    assert state.orbitals.shape[0] == 2 and state.occupations.sum(1).tolist() == [5.0, 4.0]
