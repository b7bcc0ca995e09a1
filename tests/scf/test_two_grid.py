"""Two grids, warm starts and their trends against cold solves on the fine grid."""

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, SCFState, two_grid
from deepchem_dft.scf.state import FockHistory
from deepchem_dft.xc import HybridXC, build_network

MOLECULES = {
    "water": lambda: Molecule("O 0 0 0; H 0 1.43 1.1; H 0 -1.43 1.1", "6-31g", grid_level=2),
    "H2O+": lambda: Molecule("O 0 0 0; H 0 1.43 1.1; H 0 -1.43 1.1", "6-31g", 1, 1, grid_level=2),
}


def functional(base: str, family: str) -> HybridXC:
    network = build_network(family=family, hidden=(6,), output="lda_exchange", zero_last=False, seed=2)
    return HybridXC(base, network, aweight0=0.2)


def moved(xc: HybridXC, step: int) -> None:
    """Move the parameters as training would: steadily, with some noise."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for p in xc.parameters():
            p += 3e-3 + 1e-3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)


def gradient(result, xc) -> torch.Tensor:
    parameters = [p for p in xc.parameters() if p.requires_grad]
    found = torch.autograd.grad(result.energy, parameters, retain_graph=True)
    return torch.cat([g.flatten() for g in found])


@pytest.mark.parametrize(
    ("name", "base", "family"),
    [
        ("water", "lda,pw", "lda"),
        ("H2O+", "lda,pw", "lda"),
        ("water", "b3lyp", "gga"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("H2O+", "b3lyp", "gga"), ("water", "r2scan", "mgga"), ("H2O+", "r2scan", "mgga")]
        ),
    ],
)
def test_all_paths_give_the_same(name, base, family):
    molecule, xc = MOLECULES[name](), functional(base, family)
    states: dict[bool, SCFState | None] = {False: None, True: None}
    for step in range(4):
        cold = KohnSham(molecule, xc, tol=1e-8, two_grid=False).run()
        expected = gradient(cold, xc)
        for two, state in states.items():
            result = KohnSham(molecule, xc, tol=1e-8, two_grid=two).run(guess=state)
            states[two] = result.state
            assert result.commutator < 1e-8
            assert result.energy.item() == pytest.approx(cold.energy.item(), abs=1e-8)
            assert float((gradient(result, xc) - expected).norm() / expected.norm()) < 1e-6
        moved(xc, step)


def test_a_warm_step_takes_one_fine_evaluation(monkeypatch):
    molecule, xc = MOLECULES["water"](), functional("pbe", "gga")
    result = KohnSham(molecule, xc).run()
    counts = []
    for step in range(5):
        moved(xc, step)
        result = KohnSham(molecule, xc).run(guess=result)
        counts.append(len(result.history))
    assert counts[-1] == 1 and max(counts) <= 3
    assert result.iterations <= 8


def test_it_is_chosen_for_warm_molecules_on_fine_grids_only():
    def chosen(molecule, warm):
        problem = KohnSham(molecule, "lda,pw")
        guess = None
        if warm:  # another functional's orbitals: with its own, one look at the fine grid is enough
            guess = KohnSham(molecule, "lda,vwn").run()
        return problem.run(guess=guess).state.trend.matrices.shape[0] == 2

    fine = Molecule("H 0 0 0; H 0 0 1.4", "6-31g", grid_level=3)
    assert chosen(fine, True) and not chosen(fine, False)
    assert not chosen(Molecule("H 0 0 0; H 0 0 1.4", "6-31g", grid_level=0), True)
    assert not chosen(Molecule("He 0 0 0", "6-31g", grid_level=3), True)
    off = KohnSham(fine, "lda,pw", two_grid=False)
    assert off.run(guess=KohnSham(fine, "lda,vwn").run()).state.trend.matrices.shape[0] == 1


def test_a_useless_coarse_grid_is_noticed(monkeypatch):
    """Whatever the coarse problem says, only the fine residual counts."""
    molecule, xc = MOLECULES["water"](), functional("lda,pw", "lda")
    cold = KohnSham(molecule, xc, tol=1e-8).run()
    whole = two_grid.CorrectedHamiltonian._assemble

    def wrong(self, *arguments, **options):
        evaluation = whole(self, *arguments, **options)
        noise = torch.randn(evaluation.fock.shape, dtype=torch.float64)
        evaluation.fock += 0.1 * (noise + noise.mT)
        return evaluation

    monkeypatch.setattr(two_grid.CorrectedHamiltonian, "_assemble", wrong)
    torch.manual_seed(0)
    result = KohnSham(molecule, xc, tol=1e-8, two_grid=True).run(guess=cold)
    assert result.converged and result.commutator < 1e-8
    assert result.energy.item() == pytest.approx(cold.energy.item(), abs=1e-9)


def test_a_cold_start_may_use_two_grids():
    molecule, xc = MOLECULES["water"](), functional("pbe", "gga")
    fine = KohnSham(molecule, xc, tol=1e-8, two_grid=False).run()
    both = KohnSham(molecule, xc, tol=1e-8, two_grid=True).run()
    assert both.energy.item() == pytest.approx(fine.energy.item(), abs=1e-9)
    assert len(both.history) < len(fine.history)


def test_trends_survive_a_checkpoint():
    molecule, xc = MOLECULES["water"](), functional("lda,pw", "lda")
    state = KohnSham(molecule, xc).run().state
    for step in range(3):
        moved(xc, step)
        state = KohnSham(molecule, xc).run(guess=state).state
    again = SCFState.from_dict(state.to_dict())
    moved(xc, 3)
    a, b = (KohnSham(molecule, xc).run(guess=s) for s in (state, again))
    assert a.energy.item() == b.energy.item() and a.iterations == b.iterations


def test_a_trend_foresees_steady_motion_and_ignores_noise():
    def trend(values):
        state = SCFState(torch.zeros(1), torch.zeros(1))
        for value in values:
            matrix = torch.full((1, 2, 2), value, dtype=torch.float64)
            state.trend = FockHistory.after(state, matrix)
        return float(state.trend.foresee()[0, 0, 0, 0])

    assert trend([1.0, 2.0, 3.0]) == pytest.approx(4.0)
    assert trend([1.0, 3.0, 4.0]) == pytest.approx(4.5)  # slowing down
    assert trend([1.0, 2.0, 1.0]) == pytest.approx(1.0)  # to and fro
    assert trend([1.0, 2.0]) == 2.0
