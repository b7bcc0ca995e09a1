"""Which state was found: lower ones are looked for where there is a sign, and named."""

import math
import warnings

import numpy as np
import pytest
import torch
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.search.signs import fragments, spin_gaps
from deepchem_dft.scf.search.starts import Shares, unpaired
from deepchem_dft.xc import HybridXC, get_xc

H2 = "H 0 0 0; H 0 0 {}"


def energy(
    geometry: str,
    xc: str = "pbe",
    basis: str = "sto-3g",
    spin: int = 0,
    charge: int = 0,
    level: int = 0,
    **options,
):
    molecule = Molecule(geometry, basis, charge, spin, grid_level=level)
    result = KohnSham(molecule, xc, **options).run()
    return float(result.energy.detach()), result


@pytest.fixture(scope="module")
def hydrogen() -> float:
    return energy("H 0 0 0", spin=1)[0]


def far_restricted(symbol: str, xc: str = "pbe") -> float:
    """Twice a spin-averaged atom: what a restricted pair comes to at no distance in particular."""
    half = gto.M(atom=f"{symbol} 0 0 0", basis="sto-3g", spin=None, verbose=0).nelectron / 2
    atom = Molecule(f"{symbol} 0 0 0", "sto-3g", grid_level=0, nelec=(half, half))
    return 2 * float(KohnSham(atom, xc, restricted=False).run().energy.detach())


@pytest.mark.parametrize("distance", [10.0, 20.0, 25.2, 40.0, 60.0])
def test_stretched_hydrogen_is_no_ion_pair(distance, hydrogen):
    """Without the search it ends 16 eV higher, as H- and H+, beyond 20 Bohr."""
    value, result = energy(H2.format(distance))
    assert result.restricted
    assert value == pytest.approx(far_restricted("H"), abs=2e-3)
    assert result.findings.unrestricted == pytest.approx(2 * hydrogen, abs=2e-3)
    (note,) = result.notes
    assert "unrestricted solution lies" in note and f"{result.findings.unrestricted:.5f} Ha" in note
    assert note in repr(result)
    assert float(result.dipole.detach()[2]) == pytest.approx(0.0, abs=1e-2)


def test_an_atom_without_net_spin_beside_one_with_all_of_it():
    """Oxygen and nitrogen, 2S = 3: N keeps its three spins, and O's electrons stay in different orbitals."""
    atoms = []
    for symbol, spin, paired in (("O", 2, True), ("N", 3, False), ("O", 2, False), ("N", 1, False)):
        field = dft.UKS(gto.M(atom=symbol, basis="sto-3g", spin=spin, verbose=0)).set(
            xc="pbe0", small_rho_cutoff=0.0
        )
        field.grids.level = 1
        field.kernel()
        if paired:  # two of three p orbitals for either spin, but not the same two
            c = field.mo_coeff[0]
            field = field.copy().set(nelec=(4, 4), max_cycle=200)
            field.kernel(np.array([c[:, [0, 1, *k]] @ c[:, [0, 1, *k]].T for k in ((2, 3), (2, 4))]))
            assert field.converged
        atoms.append(field.e_tot)
    assert atoms[0] + atoms[1] < atoms[2] + atoms[3] - 0.02
    value, _ = energy("O 0 0 0; N 0 0 56.50799", "pbe0", spin=3, level=1)
    assert value < atoms[0] + atoms[1] + 1e-4


def test_three_bonds_broken_at_once():
    """Restricted N2 far out, against PySCF from the orbitals of a shorter bond."""
    value, result = energy("N 0 0 0; N 0 0 30")
    scanner = dft.RKS(gto.M(atom="N 0 0 0; N 0 0 6", unit="bohr", basis="sto-3g", verbose=0)).set(
        xc="pbe", small_rho_cutoff=0.0
    )
    scanner.grids.level = 0
    scanner.kernel()
    for distance in (10, 15, 20, 30):
        mol = gto.M(atom=f"N 0 0 0; N 0 0 {distance}", unit="bohr", basis="sto-3g", verbose=0)
        nearer = dft.RKS(mol).set(xc="pbe", small_rho_cutoff=0.0)
        nearer.grids.level = 0
        nearer.kernel(dm0=scanner.make_rdm1())
        scanner = nearer
    assert value < scanner.e_tot + 1e-5
    atom = energy("N 0 0 0", spin=3)[0]
    assert result.findings.unrestricted == pytest.approx(2 * atom, abs=1e-3)


def test_spins_of_fragments_are_coupled():
    """O and H far from each other with one unpaired electron in all: a triplet and a doublet."""
    value, result = energy("O 0 0 0; H 0 0 14", spin=1)
    parts = energy("O 0 0 0", spin=2)[0] + energy("H 0 0 0", spin=1)[0]
    assert value == pytest.approx(parts, abs=1e-4)
    # one up against two down: <S^2> of the determinant is 3/4 plus one for each antiparallel pair
    assert result.spin_square == pytest.approx(1.75, abs=1e-2)


@pytest.mark.slow
def test_electrons_are_shared_out_where_extrapolation_is_lost():
    """Close to each other, but the start by extrapolation leads into a state 0.05 Ha too high."""
    torch.manual_seed(161983518)  # an untrained network, whose field is a hard one
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Softplus(), torch.nn.Linear(4, 1, bias=False)
    ).double()
    value, result = energy(
        "N 4.667711 0 0; Li 0 0 0; C -1.767361 4.693772 0",
        HybridXC("pbe0", network, aweight0=1.0),
        spin=3,
        charge=1,
    )
    assert value == pytest.approx(-78.8964326, abs=1e-5)  # PySCF's, from the bare nuclei
    assert any("extrapolation" in sign for sign in result.findings.signs)


@pytest.mark.slow
def test_a_local_minimum_above_a_lower_one():
    """The closed shell is a minimum of this functional, so that second order does not help."""
    distance = 2.4 / 0.529177210903
    value, result = energy(H2.format(distance), "zoo:nn-mgga", "def2-svp", level=1, restricted=False)
    assert value == pytest.approx(-1.00962400, abs=1e-6)
    assert result.spin_square > 0.5


def test_ordinary_molecules_cost_no_more_than_before():
    water = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
    for geometry in (water, "Li 0 0 0; H 0 0 3"):
        result = energy(geometry)[1]
        assert result.findings.builds == 0 and not result.findings.signs and not result.notes
        assert result.iterations < 15


def test_a_start_from_orbitals_is_left_alone():
    near = energy(H2.format(8.0))[1]
    molecule = Molecule(H2.format(8.5), "sto-3g", grid_level=0)
    assert KohnSham(molecule, "pbe").run(guess=near).findings.builds == 0


def test_a_batch_finds_the_same_states():
    xc = get_xc("pbe")
    molecules = [Molecule(H2.format(r), "sto-3g", grid_level=0) for r in (20.0, 40.0)]
    found = solve_batch([KSHamiltonian(m, xc) for m in molecules])
    assert [s.evaluation.energy for s in found] == pytest.approx([far_restricted("H")] * 2, abs=2e-3)


# -- what can be asked for ---------------------------------------------------------------------


@pytest.mark.parametrize("spins", [True, [1, -1], [-1, 1]])
def test_broken_symmetry_is_found_and_points_as_asked(spins, hydrogen):
    value, result = energy(H2.format(6.0), broken_symmetry=spins)
    assert value == pytest.approx(2 * hydrogen, abs=1e-3) and not result.restricted
    assert result.spin_square == pytest.approx(1.0, abs=1e-2)
    if spins is not True:
        difference = (result.density_matrix[0] - result.density_matrix[1]).detach()
        assert np.sign(difference.diagonal()[0]) == spins[0]
        assert difference.diagonal().abs().min() > 0.9


def test_broken_symmetry_of_a_molecule_travels_with_it(hydrogen):
    molecule = Molecule(H2.format(6.0), "sto-3g", grid_level=0, broken_symmetry=[1, -1])
    plain = Molecule(H2.format(6.0), "sto-3g", grid_level=0)
    assert molecule.restricted is False and molecule.key != plain.key
    there = molecule.at([[0, 0, 0], [0, 0, 8]])
    assert there.broken_symmetry == (1.0, -1.0)
    assert float(KohnSham(there, "pbe").run().energy) == pytest.approx(2 * hydrogen, abs=1e-3)
    assert plain.replace(restricted=False).restricted is False


def test_what_cannot_be_asked_for():
    h2 = Molecule(H2.format(3.0), "sto-3g", grid_level=0)
    for options, field in (
        ({"broken_symmetry": True, "restricted": True}, "broken_symmetry"),
        ({"broken_symmetry": [1]}, "broken_symmetry"),
        ({"broken_symmetry": [1, 1]}, "adds?|add"),
        ({"broken_symmetry": "up"}, "broken_symmetry"),
        ({"restricted": "no"}, "restricted"),
        ({"restricted": 1}, "restricted"),
    ):
        with pytest.raises(InputError, match=field):
            KohnSham(h2, "pbe", **options)
    lithium = Molecule("Li 0 0 0; Li 0 0 9", "sto-3g", grid_level=0, broken_symmetry=[8, -8])
    with pytest.raises(InputError, match="broken_symmetry"):  # Li has no eight electrons
        KohnSham(Molecule("H 0 0 0; He 0 0 9", "sto-3g", 1, grid_level=0, broken_symmetry=[0.4, 0.4]), "pbe")
    assert KohnSham(lithium, "pbe", restricted=True).broken_symmetry is False


def test_stability_is_told_in_words():
    result = energy(H2.format(5.0), restricted=False, stability=True)[1]
    assert result.stability.startswith("minimum")
    assert energy("He 0 0 0", basis="6-31g")[1].stability is None


def test_a_hole_between_the_spins_is_named():
    """The quintet of two N atoms' worth of electrons squeezed into N2: the triplet is lower."""
    result = energy("N 0 0 0; N 0 0 2.1", spin=6)[1]
    assert result.gap < 0 and min(spin_gaps(result._solution)) > 0
    assert any("of the other spin" in note for note in result.notes)


# -- parts -------------------------------------------------------------------------------------


def test_hund():
    assert [unpaired(z, 0) for z in range(1, 11)] == [1, 0, 1, 0, 1, 2, 3, 2, 1, 0]
    assert unpaired(26, 0) == 4 and unpaired(1, 2) is None


def test_shares_add_up():
    for charge, spin in ((0, 0), (1, 1), (-1, 3), (2, 2)):
        molecule = Molecule("N 0 0 0; O 0 0 9; H 0 5 0", "sto-3g", charge, spin, grid_level=0)
        shares = Shares(molecule).best(30)
        assert shares
        for charges, spins in shares:
            assert sum(charges) == charge and sum(spins) == molecule.spin
    assert Shares(Molecule(H2.format(9), "sto-3g", grid_level=0), closed=True).best(9) == [
        ((1, -1), (0, 0)),
        ((-1, 1), (0, 0)),
    ]


def test_fragments_are_counted():
    def count(geometry: str) -> int:
        return fragments(Molecule(geometry, "sto-3g", grid_level=0))

    assert count(H2.format(1.4)) == 1 and count(H2.format(4.0)) == 2
    assert count("O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5; He 0 0 9; He 0 9 0") == 3


def test_gaps_of_nothing_are_infinite():
    assert spin_gaps(energy("H 0 0 0", spin=1)[1]._solution) == [math.inf, math.inf]


def test_nothing_warns_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy(H2.format(12.0))
