"""Solvents and point charges: PySCF's own numbers, slopes of energies, Coulomb's law, and refusals."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from pyscf import dft, qmmm
from scipy.spatial.transform import Rotation

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.interop.relaxation import relax
from deepchem_dft.molecule.surroundings import Surroundings, read_point_charges
from deepchem_dft.scf import SCFLayer
from deepchem_dft.xc.ensemble import EnsembleXC

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
CHARGES = ((0.5, 0.0, 0.0, 4.0), (-0.3, 3.0, 0.0, -3.0))
PLACES = {
    "smd": Surroundings("water"),
    "iefpcm": Surroundings("water", "iefpcm"),
    "cpcm": Surroundings("toluene", "cpcm"),
    "charges": Surroundings(point_charges=CHARGES),
}
EPSILON = {"iefpcm": 78.355, "cpcm": 2.3741}  # of water and toluene, SMD's table


def molecule(kind: str, geometry=WATER, **options) -> Molecule:
    return Molecule(geometry, "sto-3g", grid_level=1, surroundings=PLACES[kind], **options)


def of_pyscf(kind: str, spin: int = 0, geometry: str = WATER):
    bare = Molecule(geometry, "sto-3g", spin=spin)
    mol = bare.pyscf_mol.copy()
    mol.spin, mol.verbose = spin, 0
    mf = (dft.UKS if spin else dft.RKS)(mol, xc="pbe")
    mf.grids.level, mf.conv_tol = 1, 1e-11
    if kind == "charges":
        table = np.array(CHARGES)
        mf = qmmm.mm_charge(mf, table[:, 1:], table[:, 0], unit="bohr")
    elif kind == "smd":
        mf = mf.SMD()
        mf.with_solvent.solvent = "water"
    else:
        mf = mf.PCM()
        mf.with_solvent.method = {"iefpcm": "IEF-PCM", "cpcm": "C-PCM"}[kind]
        mf.with_solvent.eps = EPSILON[kind]
    return mf.run()


@pytest.mark.parametrize("kind", PLACES)
def test_energies_and_dipoles_are_those_of_pyscf(kind):
    found = KohnSham(molecule(kind), "pbe").run()
    own = of_pyscf(kind)
    assert found.converged and found.restricted and found.commutator < 1e-6
    assert found.energy.item() == pytest.approx(own.e_tot, abs=1e-8)
    np.testing.assert_allclose(found.dipole.numpy(), own.dip_moment(unit="au", verbose=0), atol=1e-5)
    alone = KohnSham(Molecule(WATER, "sto-3g", grid_level=1), "pbe").run()
    assert found.energy < alone.energy - 1e-4
    np.testing.assert_allclose(found.orbital_energies[0].numpy(), own.mo_energy, atol=1e-5)


@pytest.mark.parametrize("kind", ["smd", "charges"])
def test_forces_are_slopes(kind):
    step, where = 2e-3, Molecule(WATER, "sto-3g").positions

    def at(shift: float):
        moved = where.copy()
        moved[1, 1] += shift
        return KohnSham(molecule(kind, (["O", "H", "H"], moved)), "r2scan", tol=1e-8).run()

    slope = (at(step).energy - at(-step).energy).item() / (2 * step)
    assert at(0.0).forces()[1, 1].item() == pytest.approx(-slope, abs=2e-6)


def test_an_open_shell_keeps_its_spins():
    found = KohnSham(molecule("cpcm", "O 0 0 0; H 0 0 1.85", spin=1), "pbe").run()
    assert not found.restricted and found.spin_square == pytest.approx(0.75, abs=0.01)
    own = of_pyscf("cpcm", 1, "O 0 0 0; H 0 0 1.85")
    # the open shell is free to turn on the coarse grid
    assert found.energy.item() == pytest.approx(own.e_tot, abs=1e-5)


def test_a_shell_that_points_elsewhere_turns():
    """Electrons of OH turn about its axis for microhartrees of the grids, in hundreds of steps of DIIS."""
    free = Molecule("O 0 0 0; H 0 0 1.8331", "sto-3g", spin=1, grid_level=1)
    solvated = free.replace(surroundings=Surroundings(solvent="water", model="smd"))
    start, energies = KohnSham(free, "pbe", tol=1e-8).run().state, []
    for angle in (10, 25):
        turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
        matrix = torch.from_numpy(free.pyscf_mol.ao_rotation_matrix(turn))
        guess = dataclasses.replace(start, orbitals=matrix @ start.orbitals)
        result = KohnSham(solvated, "pbe", tol=1e-8, max_iter=150).run(guess=guess)
        energies.append(float(result.energy))
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_far_charges_act_by_coulombs_law():
    """On an ion, a charge at distance R adds q Q / R; the dipole of what it polarises is of higher order."""
    far = Surroundings(point_charges=[(0.5, 0, 0, 50.0)])
    ion, alone = (
        KohnSham(Molecule("Li 0 0 0", "sto-3g", charge=1, surroundings=where), "lda").run()
        for where in (far, None)
    )
    assert (ion.energy - alone.energy).item() == pytest.approx(0.5 / 50.0, abs=1e-6)
    assert ion.energy_terms["point_charges"] == pytest.approx(0.5 / 50.0, abs=1e-6)
    assert ion.forces()[0, 2].item() == pytest.approx(-0.5 / 50.0**2, abs=1e-6)


@pytest.mark.parametrize("kind", PLACES)
def test_terms_add_up(kind):
    found = KohnSham(molecule(kind), "hse06+d3bj" if kind == "cpcm" else "pbe0").run()
    terms = found.energy_terms
    assert sum(terms.values()) == pytest.approx(found.energy.item(), abs=1e-7)
    alone = KohnSham(molecule(kind).replace(surroundings=None), found.xc).run().energy_terms
    for name in ("exact_exchange", "exchange_correlation", "dispersion"):  # hardly changed by what is around
        assert terms[name] == pytest.approx(alone[name], abs=0.03)
    assert terms["point_charges" if kind == "charges" else "solvent"] < -1e-3


def test_dispersion_and_ensembles_come_along():
    plain, more = (KohnSham(molecule("cpcm"), xc).run() for xc in ("pbe", "pbe+d3bj"))
    gas = KohnSham(Molecule(WATER, "sto-3g", grid_level=1), "pbe+d3bj").run()
    assert more.energy_terms["dispersion"] == pytest.approx(gas.energy_terms["dispersion"], abs=1e-9)
    assert (more.energy - plain.energy).item() == pytest.approx(more.energy_terms["dispersion"], abs=1e-8)
    assert more.energy_terms["solvent"] < 0
    both = EnsembleXC(["pbe", "blyp"])
    found = KohnSham(molecule("cpcm"), both).run()
    assert 0 < both.uncertainty(found) < 1


def test_relaxed_and_moved_with_everything(tmp_path):
    start = Molecule("H 0 0 0; F 0 0 1.8", "sto-3g", grid_level=1, surroundings=Surroundings("water", "cpcm"))
    found = relax(start, "pbe", fmax=1e-4)
    assert found.converged and found.molecule.surroundings == start.surroundings
    again = pickle.loads(pickle.dumps(found.molecule))
    assert again.surroundings == start.surroundings and again.key == found.molecule.key
    assert again.key != again.replace(surroundings=None).key
    assert "in water (C-PCM)" in repr(again)
    pytest.importorskip("geometric")
    other = relax(start, "pbe", "geometric", fmax=1e-4)
    bonds = [m.positions[1, 2] - m.positions[0, 2] for m in (found.molecule, other.molecule)]
    assert abs(bonds[0]) == pytest.approx(np.linalg.norm(np.diff(other.molecule.positions, axis=0)), abs=2e-3)


def test_with_ase():
    ase = pytest.importorskip("ase")
    from deepchem_dft.interop.ase import KohnShamCalculator

    where = molecule("cpcm")
    atoms = ase.Atoms(where.symbols, where.positions * ase.units.Bohr)
    atoms.calc = KohnShamCalculator(
        "pbe", basis="sto-3g", grid_level=1, surroundings=Surroundings("toluene", "cpcm")
    )
    found = KohnSham(where, "pbe").run()
    assert atoms.get_potential_energy() == pytest.approx(found.energy.item() * ase.units.Hartree, abs=1e-5)
    scale = ase.units.Hartree / ase.units.Bohr
    np.testing.assert_allclose(atoms.get_forces(), found.forces().numpy() * scale, atol=1e-4)
    assert atoms.calc.todict()["surroundings"] == "toluene (C-PCM)"


def test_what_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean.*water"):
        Molecule(WATER, "sto-3g", surroundings="watre")
    with pytest.raises(InputError, match="solvent_model"):
        Surroundings("water", "cosmo")
    with pytest.raises(InputError, match="one of them"):
        Surroundings("water", point_charges=CHARGES)
    with pytest.raises(InputError, match="four numbers"):
        Surroundings(point_charges=[(1.0, 2.0)])
    with pytest.raises(InputError, match="carry no gradient"):
        SCFLayer("pbe")(molecule("smd"))
    with pytest.raises(InputError, match="DQC"):
        KohnSham(molecule("smd"), "pbe", engine="dqc").run()
    with pytest.raises(InputError, match="from a nucleus"):
        KohnSham(
            molecule("smd").replace(surroundings=Surroundings(point_charges=[(1, 0, 0, 0.22)])), "pbe"
        ).run()
    file = tmp_path / "charges.txt"
    file.write_text("# two\n0.5 0 0 2.1167 # far\n\n-0.3 1.5875 0 -1.5875\n")
    read = read_point_charges(str(file)).point_charges
    np.testing.assert_allclose(read, CHARGES, atol=1e-3)
    file.write_text("0.5 0 0 2\n0.5 0 x 2\n")
    with pytest.raises(InputError, match="line 2"):
        read_point_charges(str(file))


def test_the_native_engine_says_no():
    from deepchem_dft.scf.hamiltonian import KSHamiltonian
    from deepchem_dft.xc import get_xc

    with pytest.raises(InputError, match="differentiable engine does not know water"):
        KSHamiltonian(molecule("smd"), get_xc("pbe"))
