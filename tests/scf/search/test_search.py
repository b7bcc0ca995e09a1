"""What the search for lower states looks for, when it stops, and what it counts and says."""

import math
import re

import pytest
import torch

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, solve
from deepchem_dft.scf.search import ground_state
from deepchem_dft.scf.search.signs import Findings, fragments, remarks, signs_of, suspect, turns
from deepchem_dft.scf.state import SCFState
from deepchem_dft.xc import get_xc

EV = 27.211386245981  # of a Hartree (CODATA 2022)
NEAR, FAR = "O 0 0 0; H 0 0 1.8", "O 0 0 0; H 0 0 9"


def hamiltonian(geometry=NEAR, xc="lda,pw", spin=0, charge=-1, level=1, restricted=True) -> KSHamiltonian:
    molecule = Molecule(geometry, "sto-3g", charge, spin, grid_level=level)
    return KSHamiltonian(molecule, get_xc(xc), restricted)


def with_gaps(*gaps: float, energy: float = -1.0, lost: bool = False) -> SCFSolution:
    """A solution of which nothing matters but its levels: a gap (Ha) for each spin, one above zero."""
    levels = torch.tensor([[-1.0, 0.0, gap, 2.0] for gap in gaps], dtype=torch.float64)
    filled = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * len(gaps), dtype=torch.float64) * (3 - len(gaps))
    state = SCFState(torch.eye(4, dtype=torch.float64).repeat(len(gaps), 1, 1), filled)
    point = type("Point", (), {"energy": energy})()
    solution = SCFSolution(state, levels, point, 0.0, 0, SCFStatus.CONVERGED, [])
    solution.lost = lost
    return solution


class TestSigns:
    """Gaps (Ha) below 0.1 are tiny; what makes larger ones suspect says by how much."""

    def kinds(self, gap: float, other: float | None = None, lost: bool = False, **options) -> set[str]:
        gaps = (gap,) if options.get("restricted", True) else (gap, gap if other is None else other)
        return set(signs_of(hamiltonian(**options), with_gaps(*gaps, lost=lost)))

    @pytest.mark.parametrize(
        ("gap", "found"), [(-0.0101, {"hole"}), (-0.0099, {"tiny"}), (0.099, {"tiny"}), (0.101, set())]
    )
    def test_of_a_molecule(self, gap, found):
        assert self.kinds(gap) == found

    def test_holes_of_an_atom_may_belong_to_its_ground_state(self):
        atom = {"geometry": "O 0 0 0", "charge": 0, "spin": 2, "restricted": False}
        assert self.kinds(-0.011, **atom) == {"tiny"}
        assert self.kinds(0.199, **atom) == {"tiny"} and self.kinds(0.201, **atom) == set()

    def test_the_smaller_gap_of_two_spins_counts(self):
        radical = {"charge": 0, "spin": 1, "restricted": False}
        assert self.kinds(0.5, -0.011, **radical) == self.kinds(-0.011, 0.5, **radical) == {"hole"}
        assert self.kinds(0.101, 0.5, **radical) == set()

    def test_spins_that_need_not_be_paired(self):
        assert self.kinds(0.299, restricted=False) == {"free"}
        assert self.kinds(0.301, restricted=False) == set()
        assert self.kinds(0.299, charge=1, spin=2, restricted=False) == set()  # they are not

    def test_fragments(self):
        assert self.kinds(0.299, geometry=FAR) == {"apart"} and self.kinds(0.301, geometry=FAR) == set()

    @pytest.mark.parametrize(
        ("symbols", "length"), [("OH", 0.66 + 0.31), ("CN", 0.73 + 0.71), ("OF", 0.66 + 0.57)]
    )
    def test_three_quarters_longer_than_a_bond_is_none(self, symbols, length):
        """Covalent radii of Cordero et al., Dalton Trans. 2008, 2832, in Angstrom."""
        one, other = re.findall("[A-Z][a-z]?", symbols)
        for stretch, parts in ((1.72, 1), (1.78, 2)):
            side = stretch * length / 3**0.5
            molecule = Molecule(
                f"{one} 0 0 0; {other} {side} {side} {side}", "sto-3g", 1, unit="angstrom", grid_level=0
            )
            assert fragments(molecule) == parts

    def test_an_extrapolation_that_was_lost(self):
        assert self.kinds(0.099, lost=True) == {"tiny", "lost"} and self.kinds(0.101, lost=True) == set()
        assert self.kinds(0.099, geometry=FAR, lost=True) == {"tiny", "apart"}

    @pytest.mark.parametrize(
        ("xc", "share"), [("lda,pw", 0.0), ("pbe0", 0.25), ("hf,", 1.0), ("1.5*hf - 0.5*lda,", 1.0)]
    )
    def test_exact_exchange_opens_gaps(self, xc, share):
        assert suspect(hamiltonian(xc=xc)) == pytest.approx(0.1 + 0.4 * share)

    def test_where_directions_of_open_shells_matter(self):
        assert turns(hamiltonian("O 0 0 0", charge=0, spin=2, restricted=False))
        assert turns(hamiltonian(level=0, restricted=False)) and not turns(hamiltonian(level=0))
        assert not turns(hamiltonian(level=1, restricted=False))
        assert suspect(hamiltonian(level=0, restricted=False)) == pytest.approx(0.2)


class TestRemarks:
    def said(self, *gaps: float, **findings) -> tuple[str, ...]:
        molecule = Molecule(NEAR, "sto-3g", 1, 2, grid_level=0)
        return remarks(molecule, with_gaps(*gaps, energy=-10.0), Findings(**findings))

    def test_nothing_is_said_of_what_is_in_order(self):
        assert self.said(0.3, 0.2) == self.said(-1e-6, 0.2) == ()

    def test_a_hole_within_a_spin_goes_before_one_between_spins(self):
        (note,) = self.said(0.3, -0.1)
        assert f"{0.1 * EV:.3f} eV below" in note and "same spin" in note

    def test_a_hole_between_spins_names_the_spin(self):
        solution = with_gaps(0.3, 0.2)
        solution.energies[1] -= 0.5  # its empty level at -0.3, the other spin's highest at 0
        (note,) = remarks(Molecule(NEAR, "sto-3g", 1, 2, grid_level=0), solution, Findings())
        assert f"{0.3 * EV:.3f} eV below" in note and "2S = 2 " in note

    def test_lower_energies_are_told(self):
        one, other = self.said(0.3, unrestricted=-10.25, unfinished=-10.125)
        assert "0.25000 Ha below" in one and "-10.25000 Ha" in one
        assert "0.12500 Ha lower" in other and "no field converged" in other


class TestSearch:
    def test_what_has_a_filling_of_its_own_is_left_alone(self):
        """A hole in neon's lowest orbital; and half an electron in hydrogen."""
        hollow = Molecule(
            "Ne 0 0 0", "6-31g", 1, 1, grid_level=0, occupations=([1.0] * 5, [0.0, 1.0, 1.0, 1.0, 1.0])
        )
        half = Molecule("H 0 0 0; H 0 0 9", "sto-3g", grid_level=0, nelec=(0.5, 0.5))
        for molecule in (hollow, half):
            fields = KSHamiltonian(molecule, get_xc("lda,pw"), False)
            solution = solve(fields, tol=1e-6)
            found, findings = ground_state.search(fields, solution, tol=1e-6, max_iter=100, thorough=True)
            assert found is solution and not findings.signs and not findings.builds

    def test_it_ends_with_the_first_round_that_finds_nothing(self, monkeypatch):
        """The hole in the pi shell of OH, which has no gap, is a sign; the state is the lowest."""
        fields = KSHamiltonian(
            Molecule("O 0 0 0; H 0 0 1.85", "sto-3g", 0, 1, grid_level=1), get_xc("lda,pw")
        )
        counts = []
        for rounds in (1, 3):
            monkeypatch.setattr(ground_state, "_ROUNDS", rounds)
            solution = solve(fields, tol=1e-6)
            energy = solution.evaluation.energy
            found, findings = ground_state.search(fields, solution, tol=1e-6, max_iter=200)
            assert found.evaluation.energy == pytest.approx(energy, abs=1e-5)
            assert findings.signs and findings.builds > 0
            assert not any(lower for *_, lower in findings.tried.values())
            counts.append(findings.tried)
        assert counts[0] == counts[1]

    def test_what_was_about_to_converge_is_finished(self):
        """Stopped at the limit of Fock builds: close to a solution, or nowhere near."""
        fields = hamiltonian("C 0 0 0; N 0 0 5", charge=0, spin=1, restricted=False)
        history = solve(fields, tol=1e-6).history
        close = next(k for k, residual in enumerate(history) if residual < 5e-4)
        for limit, status in ((3, SCFStatus.MAX_ITERATIONS), (close + 2, SCFStatus.CONVERGED)):
            stopped = solve(fields, tol=1e-6, max_iter=limit)
            assert stopped.status is SCFStatus.MAX_ITERATIONS
            assert (stopped.residual < 1e-3) == (status is SCFStatus.CONVERGED)
            found, findings = ground_state.search(fields, stopped, tol=1e-6, max_iter=200)
            assert found.status is status and ("finished" in findings.tried) == (found is not stopped)
        assert found.residual < 1e-6 and found.evaluation.energy < stopped.evaluation.energy

    @pytest.mark.parametrize("spins", [(3, -3), (-3, 3)])
    def test_atoms_get_the_spins_asked_for(self, spins):
        """Two N atoms at no distance in particular: twice an atom, each as it was wanted."""
        pair = Molecule("N 0 0 0; N 0 0 12", "sto-3g", grid_level=1)
        result = KohnSham(pair, "lda,pw", broken_symmetry=list(spins)).run()
        atom = KohnSham(Molecule("N 0 0 0", "sto-3g", spin=3, grid_level=1), "lda,pw").run()
        assert float(result.energy) == pytest.approx(2 * float(atom.energy), abs=1e-4)
        alpha, beta = result.density_matrix.detach()
        populations = ((alpha - beta) @ pair.overlap).diagonal()
        assert [float(p.sum()) for p in populations.split(5)] == pytest.approx(spins, abs=1e-2)

    def test_where_bonds_hold_spins_are_tried_at_one_fock_matrix_each(self):
        """Turned spins lie above a closed shell at its equilibrium, so nothing is followed."""
        fields = KSHamiltonian(Molecule("Li 0 0 0; H 0 0 3", "sto-3g", grid_level=1), get_xc("lda,pw"))
        solution = solve(fields, tol=1e-6)
        found, findings = ground_state.search(fields, solution, tol=1e-6, max_iter=100, thorough=True)
        starts, builds, lower = findings.tried["spins mixed"]
        assert 1 <= starts == builds <= 2 and not lower and findings.unrestricted is None
        assert found.evaluation.energy == pytest.approx(solution.evaluation.energy, abs=1e-9)

    @pytest.mark.parametrize(("distance", "restricted"), [(20.0, True), (4.0, False)])
    def test_every_fock_matrix_is_counted(self, distance, restricted, monkeypatch):
        """Those of the search, too: iterations say what a field has cost."""
        molecule = Molecule(f"H 0 0 0; H 0 0 {distance}", "sto-3g", grid_level=0)
        fields = KSHamiltonian(molecule, get_xc("pbe"), restricted)
        solution = solve(fields, tol=1e-6)
        before, energy, built = solution.iterations, solution.evaluation.energy, []

        def counting(real):
            return lambda *arguments, **options: built.append(1) or real(*arguments, **options)

        for name in ("evaluate", "evaluate_matrix"):
            monkeypatch.setattr(KSHamiltonian, name, counting(getattr(KSHamiltonian, name)))
        found, findings = ground_state.search(fields, solution, tol=1e-6, max_iter=500)
        assert found.iterations - before == len(built) > 30
        assert findings.lowered == pytest.approx(energy - found.evaluation.energy, abs=1e-12)
        assert findings.lowered > 0.01
        # Making the Fock matrix that atoms are taken from belongs to no start.
        tried = findings.tried.values()
        assert findings.builds == sum(builds for _, builds, _ in tried) >= len(built) - 4
        assert sum(lower for *_, lower in tried) >= 1


class TestStarts:
    """What is tried for which sign of trouble, the levels of a real solution moved about."""

    def starts(self, fields: KSHamiltonian, gap: float, *signs: str) -> list[ground_state.Start]:
        solution = solve(fields, tol=1e-6)
        spins = solution.state.density_matrix()
        if len(spins) == 2 and torch.allclose(spins[0], spins[1], atol=1e-5):
            # Which sign orbitals have, and which way equal ones point, is the eigensolver's choice.
            solution.state.orbitals[1] = solution.state.orbitals[0]
        for levels, filling in zip(solution.energies, solution.state.occupations, strict=True):
            empty = filling < 1e-10
            levels[empty] += gap - float(levels[empty].min() - levels[~empty].max())
        explorer = ground_state.Explorer(fields, solution, 1e-6, 100, Findings())
        self.before, self.overlap = solution.state, fields.overlap
        return list(ground_state._starts(explorer, dict.fromkeys(signs, "")))

    def moved(self, start: ground_state.Start) -> float:
        """How many electrons of one spin are no longer where they were."""
        new = SCFState(start.orbitals, self.before.occupations)
        held = zip(self.before.density_matrix(), new.density_matrix(), strict=True)
        full = float(self.before.occupations.max())
        lost = [float(f.sum()) / full for f in self.before.occupations]
        kept = [float(((a @ self.overlap) * (b @ self.overlap).mT).sum()) / full**2 for a, b in held]
        return sum(lost) - sum(kept)

    def test_a_tiny_gap_turns_pairs_half_way(self):
        found = self.starts(hamiltonian(), 0.05, "tiny")
        assert {start.kind for start in found} == {"turned"} and len(found) <= 2
        for start in found:
            assert self.moved(start) == pytest.approx(0.5, abs=0.05)
            assert 0.01 < start.reach < 0.1 and not start.again

    def test_on_the_coarsest_grid_the_state_itself_is_shaken(self):
        """Its energies are rough enough to hold a field where no minimum is."""
        found = self.starts(hamiltonian(level=0), 0.05, "tiny")
        shaken = [start for start in found if start.kind == "kicked"]
        assert len(shaken) == 2 == sum(start.kind == "mixed" for start in found)
        assert all(start.again and 1e-3 < self.moved(start) < 1.0 for start in shaken)

    def test_a_pair_that_is_far_apart_is_left(self):
        assert self.starts(hamiltonian(), 0.11, "tiny") == []
        assert len(self.starts(hamiltonian(xc="pbe0"), 0.11, "tiny")) > 0  # 0.2 Ha is its limit

    def test_a_hole_turns_them_half_way_and_all_the_way(self):
        found = self.starts(hamiltonian(), -0.05, "hole")
        turned = [start for start in found if start.kind == "turned"]
        moved = [self.moved(start) for start in turned]
        assert moved == pytest.approx([0.5, 1.0] * (len(turned) // 2), abs=0.05) and len(turned) == 4
        assert all(start.reach == float("inf") for start in turned)
        assert sum(start.kind == "mixed" for start in found) == 3
        # OH- in closed shells: both charges, and the electron pair on either atom
        assert 1 <= sum(start.kind == "shared out" for start in found) <= 3

    def test_atoms_far_apart_are_given_their_spins_in_more_ways(self):
        far = hamiltonian("N 0 0 0; N 0 0 13", charge=0, restricted=False)  # too far to point at each other
        counts = {}
        for sign in ("apart", "hole"):
            found = self.starts(far, 0.05, sign)
            shared = [start for start in found if start.kind == "shared out"]
            counts[sign] = len(shared)
            spins = [sum(self.spins(start)) for start in shared]
            assert spins == pytest.approx([0.0] * len(shared), abs=1e-8)
            up, down = self.spins(shared[0])  # three electrons each, the likeliest
            assert abs(up) == pytest.approx(3.0, abs=0.1) and down == pytest.approx(-up, abs=0.1)
        assert counts == {"apart": 6, "hole": 3}  # six are all there are

    def spins(self, start: ground_state.Start) -> list[float]:
        alpha, beta = SCFState(start.orbitals, self.before.occupations).density_matrix()
        populations = ((alpha - beta) @ self.overlap).diagonal()
        return [float(populations[:5].sum()), float(populations[5:].sum())]

    def test_spins_are_mixed_where_they_may_differ(self):
        closed, free = (self.starts(hamiltonian(restricted=r), 0.05, "tiny") for r in (True, False))
        assert not any(start.kind == "spins mixed" for start in closed)
        mixed = [start for start in free if start.kind == "spins mixed"]
        for start, angle in zip(mixed, (math.pi / 8, math.pi / 4), strict=True):
            # One electron of each spin, turned against each other: sin^2 of the angle is gone.
            assert self.moved(start) == pytest.approx(2 * math.sin(angle) ** 2, abs=0.06)
            alpha, beta = SCFState(start.orbitals, self.before.occupations).density_matrix()
            assert float((alpha - beta).abs().max()) > 0.1
            assert start.reach < 0.01
        strong = [
            s for s in self.starts(hamiltonian(restricted=False), 0.05, "apart") if s.kind == "spins mixed"
        ]
        assert [round(self.moved(s)) for s in strong] == list(range(len(strong), 0, -1))  # many first
        assert all(s.reach == float("inf") for s in strong)
