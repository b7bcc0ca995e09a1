"""Polynomials for matrices of one molecule, against PySCF's own at geometries and in positions never seen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from deepchem_dft.cli import app
from deepchem_dft.errors import CheckpointError, InputError
from deepchem_dft.hamiltonian.internal import InternalCoordinates, Polynomial, number_of_terms
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models.hamiltonian import HamiltonianPolynomial
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.units import BOHR_TO_ANGSTROM

WATER = ([8, 1, 1], [[0, 0, 0.2], [0, 1.43, -0.9], [0.1, -1.43, -0.9]])
AMMONIA = ([1, 7, 1, 1], [[0, 1.8, 0.1], [0, 0, 0.6], [1.5, -0.9, 0], [-1.5, -0.9, 0]])
LIH = ([3, 1], [[0, 0, 0], [0, 0, 3.0]])


def made(molecule, count, seed, basis="def2-svp", size=0.1):
    """Geometries that lie anyhow; their "Kohn-Sham matrix" is T + V, which takes no iteration."""
    rng, (numbers, positions) = np.random.default_rng(seed), molecule
    found = []
    for number in range(count):
        moved = np.array(positions) + rng.uniform(-size, size, (len(numbers), 3))
        turn = Rotation.random(rng=rng).as_matrix()
        bare = HamiltonianSample(
            numbers, moved @ turn.T + rng.normal(size=3), basis, xc="pbe", name=str(number)
        )
        reference = Reference(bare, grid_level=0)
        found.append(replace(bare, hamiltonian=reference.core, overlap=reference.overlap))
    return found


@pytest.fixture(scope="module")
def water():
    return made(WATER, 90, 0), made(WATER, 10, 1, size=0.08)


def error(model, samples):
    return float(np.mean([np.abs(h - s.hamiltonian).mean() for h, s in zip(model.predict(samples), samples)]))


def test_errors_fall_with_the_degree_wherever_the_molecule_lies(water):
    train, test = water
    spread = np.std([s.hamiltonian for s in train], axis=0).mean()
    errors = [error(HamiltonianPolynomial(degree).fit(train), test) for degree in (1, 2, 3, 5)]
    assert errors[0] < 0.1 * spread
    assert errors[1] < 0.2 * errors[0] and errors[2] < 0.2 * errors[1] and errors[3] < 0.2 * errors[2]
    assert errors[3] < 1e-6


def test_the_degree_is_chosen_by_what_is_left_out(water):
    train, test = water
    model = HamiltonianPolynomial().fit(train)
    assert model.polynomial.degree >= 4
    assert 0.3 < model.polynomial.left_out / error(model, test) < 30.0
    assert HamiltonianPolynomial().fit(train[:12]).polynomial.degree < 3


@pytest.mark.parametrize("molecule, terms", [(LIH, 1), (AMMONIA, 6)])
def test_other_molecules(molecule, terms):
    """Of two atoms the axes across are arbitrary; with four atoms a mirror image is another molecule."""
    train, test = made(molecule, 40, 0, size=0.05), made(molecule, 5, 1, size=0.04)
    model = HamiltonianPolynomial(2).fit(train)
    assert model.polynomial.coefficients.shape[0] == number_of_terms(terms, 2)
    assert error(model, test) < 0.02 * error(HamiltonianPolynomial(0).fit(train), test)


def test_coordinates_are_those_of_the_molecule():
    rng = np.random.default_rng(0)
    positions = np.array(AMMONIA[1]) + rng.normal(size=(5, 4, 3), scale=0.1)
    coordinates = InternalCoordinates.of(positions)
    x, axes = coordinates(positions), coordinates.axes(positions)
    assert x.shape == (5, 6)
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)
    np.testing.assert_allclose(axes @ axes.swapaxes(1, 2), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)
    turn = Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix()
    np.testing.assert_allclose(coordinates(positions @ turn.T + [3.0, 0.1, 0.2]), x, atol=1e-12)
    assert np.abs(coordinates(positions * [1, 1, -1]) - x).max() > 0.5  # the other hand
    one, two, angle = InternalCoordinates((1, 0, 2))(positions)[0, :3]
    a, b, c = positions[0, 0] - positions[0, 1], positions[0, 2] - positions[0, 1], 0
    assert (one, two) == pytest.approx((np.linalg.norm(a), np.linalg.norm(b)))
    assert np.cos(angle) == pytest.approx(a @ b / (one * two)), c


def test_left_out_is_what_fits_without_each_sample_give():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(14, 2)), rng.normal(size=(14, 3))
    missed = [
        np.abs(Polynomial.fit(np.delete(x, i, 0), np.delete(y, i, 0), 2)(x[i : i + 1]) - y[i])
        for i in range(14)
    ]
    assert Polynomial.fit(x, y, 2).left_out == pytest.approx(np.mean(missed))


def test_predictions_have_all_that_follows(water, tmp_path):
    train, test = water
    model = HamiltonianPolynomial(4).fit(train)
    scores = model.evaluate(test)
    assert scores["hamiltonian_mae"] == pytest.approx(1e6 * error(model, test))
    assert scores["orbital_mae"] < 100 and scores["unconverged"] == 0
    found = model.predict_properties(test)[0]
    true = np.linalg.eigvals(np.linalg.solve(found.prepared.overlap, test[0].hamiltonian)).real
    np.testing.assert_allclose(found.orbital_energies, np.sort(true), atol=2e-4)
    model.save(tmp_path / "water.pt")
    again = HamiltonianPolynomial.load(tmp_path / "water.pt").predict(test)
    assert all(np.array_equal(a, b) for a, b in zip(again, model.predict(test)))


def test_far_from_all_it_has_seen_it_warns(water):
    model = HamiltonianPolynomial(2).fit(water[0])
    sample = water[1][0]
    stretched = HamiltonianSample(sample.numbers, 1.5 * sample.positions, "def2-svp", name="stretched")
    with pytest.warns(UserWarning, match="stretched: a coordinate is .* times"):
        model.predict([stretched])


def test_what_cannot_be_is_refused(water, tmp_path):
    train, _ = water
    with pytest.raises(InputError, match="12 geometries for 20 terms of degree 3 in 3 coordinates"):
        HamiltonianPolynomial(3).fit(train[:12])
    with pytest.raises(InputError, match="nothing was fitted"):
        HamiltonianPolynomial().predict(train)
    other = HamiltonianSample([1, 8, 1], train[0].positions[[1, 0, 2]], "def2-svp", name="HOH")
    model = HamiltonianPolynomial(1).fit(train)
    with pytest.raises(InputError, match="entry HOH.*in one order"):
        model.predict([other])
    with pytest.raises(InputError, match="the basis is sto-3g"):
        model.predict([HamiltonianSample(other.numbers, other.positions, "sto-3g")])
    line = made(([6, 8, 8], [[0, 0, 0], [0, 0, 2.2], [0, 0, -2.2]]), 12, 0, "sto-3g", 0.01)
    with pytest.raises(InputError, match="off a line"):
        HamiltonianPolynomial(1).fit(line)
    same = [replace(train[0], name=str(i)) for i in range(9)]
    with pytest.raises(InputError, match="do not determine"):
        HamiltonianPolynomial(1).fit(same)
    (tmp_path / "broken.pt").write_bytes(b"no")
    with pytest.raises(CheckpointError):
        HamiltonianPolynomial.load(tmp_path / "broken.pt")


def test_a_file_of_it_starts_a_calculation(tmp_path):
    train = []
    for r in np.linspace(1.2, 1.8, 7):
        bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe")
        train.append(replace(bare, hamiltonian=Reference(bare, grid_level=0).solve().hamiltonian))
    HamiltonianPolynomial().fit(train).save(tmp_path / "h2.pt")
    (tmp_path / "h2.xyz").write_text("2\n\nH 0.1 0 0\nH 0.1 0.76 0\n")  # Angstrom, lying another way
    arguments = ["scf", str(tmp_path / "h2.xyz"), "--guess", str(tmp_path / "h2.pt"), "--xc", "pbe"]
    result = CliRunner().invoke(app, [*arguments, "--grid-level", "0"])
    assert result.exit_code == 0, result.output
    above = re.search(r"density of the model, whose energy is (\S+) microhartree above", result.output)
    assert above and abs(float(above.group(1))) < 1.0
    energy = float(re.search(r"energy: +(\S+) Ha\n", result.output).group(1))

    once = CliRunner().invoke(app, [*arguments, "--grid-level", "0", "--no-iterate", "--forces", "-q"])
    assert once.exit_code == 0 and "NOT self-consistent" in once.output
    both = re.search(r"energy: +(\S+) Ha of the density, (\S+) Ha by Harris-Foulkes", once.output)
    assert both and [float(x) for x in both.groups()] == pytest.approx([energy, energy], abs=1e-6)
    told = CliRunner().invoke(
        app, [*arguments, "--grid-level", "0", "--no-iterate", "--forces", "--json", "-q"]
    )
    data = json.loads(told.output)
    assert data["self_consistent"] is False and data["energy_hartree"] == pytest.approx(energy, abs=1e-6)
    forces = np.array(data["forces_hartree_per_bohr"])
    moved = Molecule((["H", "H"], [[0, 0, 0], [0, 0.76 / BOHR_TO_ANGSTROM, 0]]), "sto-3g", grid_level=0)
    np.testing.assert_allclose(forces, KohnSham(moved, "pbe").run().forces(), atol=1e-4)
    assert np.abs(forces).max() > 1e-3

    for wrong in ([*arguments[:2], "--no-iterate"], [*arguments, "--no-iterate", "--write", "h2.npz"]):
        refused = CliRunner().invoke(app, [*wrong, "-q"])
        assert refused.exit_code == 1 and refused.exception.field == "iterate"
