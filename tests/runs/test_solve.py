"""The solver: right energies, nothing solved twice, nothing unconverged used."""

import json
import math
import os
from dataclasses import replace

import pytest

from deepchem_dft.errors import DeepChemDFTError, FunctionalError, InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyCache, EnergyRecord, Functional
from deepchem_dft.xc import HybridXC, build_network


def molecules() -> list[Molecule]:
    return [
        Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=1),
        Molecule("Li 0 0 0", "sto-3g", spin=1, grid_level=1),
    ]


def pyscf_energy(molecule: Molecule, xc: str) -> float:
    from pyscf import dft, gto

    mol = gto.M(
        atom=list(zip(molecule.symbols, molecule.positions.tolist())),
        unit="Bohr",
        basis=molecule.basis,
        spin=molecule.spin,
        verbose=0,
    )
    mf = dft.UKS(mol, xc=xc)
    mf.grids.level, mf.conv_tol = molecule.grid_level, 1e-11
    return mf.kernel()


def test_energies_are_those_of_pyscf():
    functionals = [Functional.named("lda"), Functional.named("pbe")]
    found = Solver(1).solve([(m, functionals) for m in molecules()])
    for molecule in molecules():
        for functional, xc in zip(functionals, ("lda,pw", "pbe,pbe")):
            solution = found[molecule.key, functional.key]
            assert solution.converged
            expected = pyscf_energy(molecule, "lda" if xc.startswith("lda") else xc)
            assert solution.energy == pytest.approx(expected, abs=2e-8)


def test_trained_functional_travels():
    """A module sent to a worker gives the energy it gives here."""
    network = build_network(family="gga", zero_last=False, output="lda_exchange", seed=1)
    xc = HybridXC("pbe", network, aweight0=0.05)
    sent = Functional.trained(xc)
    from deepchem_dft.scf import KohnSham

    molecule = molecules()[0]
    here = float(KohnSham(molecule, xc, tol=1e-8).run().energy.detach())
    there = Solver(1, tol=1e-8).solve([(molecule, [sent])])[molecule.key, sent.key].energy
    assert there == pytest.approx(here, abs=1e-9)
    assert Functional.trained(xc).key == sent.key
    xc.aweight.data += 1e-6
    assert Functional.trained(xc).key != sent.key


def test_nothing_is_solved_twice(tmp_path):
    seen: list[str] = []

    def solve(solver: Solver, **options):
        requests = [(m, [Functional.named("pbe")]) for m in (*molecules(), *molecules())]
        return solver.solve(requests, on_solution=lambda s, *_: seen.append(s.name), **options)

    first = solve(Solver(1, cache=tmp_path / "e.jsonl"))
    assert len(seen) == 2
    again = solve(Solver(1, cache=tmp_path / "e.jsonl"))
    assert len(seen) == 2 and again == first
    # States that are wanted but not there are made, whatever the cache of energies says.
    (tmp_path / "states").mkdir()
    solver = Solver(1, cache=tmp_path / "e.jsonl", states=tmp_path / "states")
    solve(solver, keep_states=True)
    assert len(seen) == 4
    assert solver.load_state(molecules()[0], Functional.named("pbe")).orbitals.shape[1] == 2
    solve(solver, keep_states=True)
    assert len(seen) == 4


def test_cache_survives_a_torn_line(tmp_path):
    path = tmp_path / "e.jsonl"
    good = EnergyRecord("m", "pbe", "H2", -1.1, True, "converged", 5, 0.1)
    lost = EnergyRecord("n", "pbe", "N2", math.nan, False, "stalled", 300, 0.1)
    cache = EnergyCache(path)
    cache.add(good)
    cache.add(lost)
    with pytest.raises(InputError, match=rf"process is writing the file \({os.getpid()} on "):
        EnergyCache(path)
    cache.close()
    path.write_text(path.read_text() + '{"molecule": "k", "ener')
    with pytest.warns(UserWarning, match=r"e\.jsonl: the last line was cut short"):
        back = EnergyCache(path)
    assert back.get("m", "pbe") == good
    assert back.get("k", "pbe") is None
    unconverged = back.get("n", "pbe")
    assert unconverged is not None and math.isnan(unconverged.energy)
    assert not unconverged.converged
    other = replace(good, molecule="o")
    back.add(other)
    back.close()
    again = EnergyCache(path)
    assert again.get("o", "pbe") == other and again.get("m", "pbe") == good and len(again) == 3
    assert path.read_text().count("\n") == 3


@pytest.mark.parametrize(
    "change",
    [
        {"energy": math.nan},
        {"energy": "low"},
        {"energy": None},
        {"name": 3},
        {"members": "many"},
        {"members": [None]},
        {"converged": 1},
        {"weight": 1.0},
    ],
)
def test_a_line_that_says_nonsense_counts_as_absent(tmp_path, change):
    path = tmp_path / "e.jsonl"
    good = EnergyRecord("m", "pbe", "H2", -1.1, True, "converged", 5, 0.1, [-1.1, -1.2])
    bad = {**vars(replace(good, molecule="n")), **change}
    lines = [vars(good), bad, vars(replace(good, molecule="o"))]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.warns(UserWarning, match="left out: line 2"):
        cache = EnergyCache(path)
    assert (cache.get("m", "pbe"), cache.get("n", "pbe"), len(cache)) == (good, None, 2)


def test_unconverged_is_nan(monkeypatch):
    """A field that ends early must not leave an energy behind."""
    from deepchem_dft.scf import kohn_sham, ladder

    usual = ladder.solve

    def hasty(*args, **options):
        return usual(*args, **{**options, "max_iter": 1, "tol": 1e-14})

    monkeypatch.setattr(kohn_sham, "solve", hasty)
    molecule = molecules()[1]
    solution = Solver(1).solve([(molecule, [Functional.named("pbe")])])[molecule.key, "pbe"]
    assert not solution.converged and math.isnan(solution.energy)
    assert solution.status != "converged"


def test_nan_in_the_network_is_reported():
    xc = HybridXC("pbe", build_network(family="gga", seed=0), aweight0=1.0)
    xc.nnxc.nnmodel.layers[0].weight.data.fill_(math.nan)
    with pytest.raises(FunctionalError, match="Li.*'trained'"):
        Solver(1).solve([(molecules()[1], [Functional.trained(xc)])])


def test_atoms_start_afresh(tmp_path, monkeypatch):
    """What is found for an open shell depends neither on other functionals nor on stored states."""
    from deepchem_dft.scf import KohnSham

    guesses: dict[str, list[bool]] = {}
    usual = KohnSham.run

    def watched(self, on_unconverged="raise", guess=None):
        guesses.setdefault(self.molecule.name, []).append(guess is not None)
        return usual(self, on_unconverged, guess)

    monkeypatch.setattr(KohnSham, "run", watched)
    atom = Molecule("B 0 0 0", "6-31g", spin=1, grid_level=1)
    h2 = molecules()[0]
    both = [Functional.named("lda,pw"), Functional.named("pbe")]
    (tmp_path / "states").mkdir()
    solver = Solver(1, states=tmp_path / "states")
    found = solver.solve([(atom, both), (h2, both)], keep_states=True)
    solver.solve([(atom, [Functional.named("blyp")]), (h2, [Functional.named("blyp")])])
    assert guesses == {"B": [False, False, False], "H2": [False, True, True]}
    guesses.clear()
    Solver(1).solve([(h2, both)], afresh=True)
    assert guesses == {"H2": [False, False]}
    alone = float(usual(KohnSham(atom, "pbe")).energy)
    assert found[atom.key, "pbe"].energy == pytest.approx(alone, abs=1e-12)


def test_unknown_functional():
    with pytest.raises(FunctionalError, match="nonsense"):
        Functional.named("nonsense")


@pytest.mark.slow
def test_workers_give_the_same(tmp_path):
    functionals = [Functional.named("lda"), Functional.named("b3lyp")]
    requests = [(m, functionals) for m in molecules()]
    serial = Solver(1).solve(requests)
    with Solver(2, cache=tmp_path / "e.jsonl") as solver:
        parallel = solver.solve(requests)
    assert parallel.keys() == serial.keys()
    for key, solution in serial.items():
        assert parallel[key].energy == pytest.approx(solution.energy, abs=1e-9)


@pytest.mark.slow
def test_a_dying_worker_is_an_error():
    with Solver(2) as solver:
        solver._start().submit(os._exit, 9)  # of the library: workers can always import it
        with pytest.raises(DeepChemDFTError, match="worker process died"):
            solver.solve([(m, [Functional.named("lda")]) for m in molecules()])
