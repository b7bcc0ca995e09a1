"""What must not go wrong silently: stale results, foreign guesses, impossible options."""

from contextlib import suppress
from functools import partial

import pytest
import torch

from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import InputError, ResponseNotConverged
from deepchem_dft.models import XCModel
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, SCFLayer, SCFOptions
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.response import OrbitalHessian, solve_response
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.scf.state import aufbau
from deepchem_dft.xc import HybridXC, Libxc


def test_a_guess_does_not_bring_its_occupations():
    third = 1 / 3
    plain = Molecule("B 0 0 0", basis="6-31g", spin=1, grid_level=1)
    round_ = Molecule(
        "B 0 0 0", basis="6-31g", grid_level=1, occupations=([1, 1, third, third, third], [1, 1])
    )
    results = {m: KohnSham(m, "pbe", tol=1e-7).run() for m in (plain, round_)}
    assert results[plain].energy.item() < results[round_].energy.item() - 1e-3
    for molecule, other in ((plain, round_), (round_, plain)):
        warm = KohnSham(molecule, "pbe", tol=1e-7).run(guess=results[other])
        assert warm.energy.item() == pytest.approx(results[molecule].energy.item(), abs=1e-6)


def test_orbitals_of_the_neutral_start_the_cation(make):
    neutral = KohnSham(make("H2O"), "pbe").run()
    warm = KohnSham(make("H2O+"), "pbe").run(guess=neutral.state)
    cold = KohnSham(make("H2O+"), "pbe").run()
    assert warm.energy.item() == pytest.approx(cold.energy.item(), abs=1e-8)


def test_a_result_belongs_to_the_parameters_it_was_made_with(make, neural):
    functional = neural("pbe", "gga")
    result = KohnSham(make("H2O"), functional).run()
    before = result.energy.item()
    fresh = KohnSham(make("H2O"), functional).run()
    with torch.no_grad():
        functional.aweight += 0.1
    for r in (result, fresh):  # read before, and never read before
        assert r.energy.item() == pytest.approx(before, abs=1e-9)
    assert not fresh.energy.requires_grad
    assert not fresh.dipole.requires_grad


def test_frozen_exchange_of_two_hybrids_is_not_mixed_up(make):
    """A term with coefficient zero must not overwrite the exchange energy of another."""
    functional = HybridXC("b3lyp", Libxc("pbe0"), aweight0=1e-30)
    with torch.no_grad():
        functional.aweight.zero_()
    functional.aweight.requires_grad_(False)
    result = KohnSham(make("H2O"), functional).run()
    assert float(result.frozen.energy(functional).detach()) == pytest.approx(result.energy.item(), abs=1e-9)
    assert result.energy.item() == pytest.approx(float(KohnSham(make("H2O"), "b3lyp").run().energy), abs=1e-8)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tol", float("nan")),
        ("tol", 0),
        ("tol", -1),
        ("tol", 1.0),
        ("tol", "small"),
        ("max_iter", 0),
        ("max_iter", 2.5),
        ("restricted", "no"),
        ("two_grid", "yes"),
        ("stability", 2),
        ("engine", "other"),
    ],
)
def test_impossible_options_are_refused_alike_everywhere(make, option, value):
    said = []
    for solver in (partial(KohnSham, make("He")), SCFLayer, partial(XCModel, grid_level=0)):
        with pytest.raises(InputError) as caught:
            solver("pbe", **{option: value})
        assert caught.value.field == option and caught.value.remedy
        said.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        Solver(1, **{option: value})
    assert {*said, str(caught.value)} == {said[0]}


ODD = {"tol": 1e-5, "max_iter": 77, "stability": True, "two_grid": False, "restricted": False}


@pytest.mark.parametrize("by_name", [{}, ODD, {"tol": 1e-5}])
def test_options_arrive_where_fields_are_solved(make, monkeypatch, by_name):
    """Whether given as one object, by name or both ways; what is given by name counts."""
    asked = SCFOptions(**{**ODD, "tol": 1e-4 if by_name else 1e-5})
    found, molecule = [], make("He")
    monkeypatch.setattr(KohnSham, "run", lambda self, **_: found.append(self.scf) or None)
    entry = DFTEntry.create("energy", "-2.9", [{"moldesc": "He 0 0 0", "basis": "sto-3g"}])
    for solve in (
        lambda: KohnSham(molecule, "pbe", asked, **by_name).run(),
        lambda: SCFLayer("pbe", asked, **by_name)(molecule),
        lambda: XCModel("pbe", scf=asked, grid_level=0, **by_name).model([entry]),
        lambda: Solver(1, asked, **by_name).solve([(molecule, [Functional.named("pbe")])]),
    ):
        with suppress(AttributeError):  # what is returned is no result
            solve()
    assert found == [SCFOptions(**ODD)] * 4


def test_unknown_options_are_type_errors(make):
    for solver in (partial(KohnSham, make("He")), SCFLayer, XCModel):
        with pytest.raises(TypeError, match="tolerance"):
            solver("pbe", tolerance=1e-6)
    with pytest.raises(InputError, match="SCFOptions"):
        KohnSham(make("He"), "pbe", {"tol": 1e-6})


@pytest.mark.parametrize("guess", ["minao", 3, [1.0]])
def test_a_guess_is_a_state(make, guess):
    with pytest.raises(InputError, match="guess"):
        KohnSham(make("He"), "pbe").run(guess=guess)


def test_electrons_never_get_lost():
    """Two atoms on nearly the same spot: fewer independent orbitals than electrons of a spin."""
    molecule = Molecule("H 0 0 0; H 0 0 0.2", basis="sto-3g", nelec=(2.0, 0.0), grid_level=0)
    molecule.overlap[:] = torch.tensor([[1.0, 1.0 - 1e-12], [1.0 - 1e-12, 1.0]])
    with pytest.raises(InputError, match="linearly independent"):
        KohnSham(molecule, "lda,pw").run()
    assert aufbau((1.0, 0.0), 2, restricted=False).sum() == 1


def test_response_that_does_not_converge_is_an_error(make, neural):
    result = KohnSham(make("H2O"), neural("pbe", "gga"), tol=1e-8).run()
    hessian = OrbitalHessian(result._hamiltonian, result._solution)
    with pytest.raises(ResponseNotConverged, match="coupled-perturbed"):
        solve_response(hessian, torch.ones(hessian.size, dtype=torch.float64), None, max_iter=1)


def test_aufbau_is_told(make):
    assert KohnSham(make("H2O"), "pbe").run().aufbau


def test_no_virtual_orbitals():
    helium = Molecule("He 0 0 0", basis="sto-3g", grid_level=0)
    result = KohnSham(helium, "pbe").run()
    assert result.converged
    assert result.gap == float("inf")
