"""Functionals in PySCF: the same numbers as our own SCF, as libxc, and as finite differences."""

import importlib.util
import itertools

import numpy as np
import pytest
from pyscf import dft, gto, hessian, scf
from pyscf.dft import numint

from deepchem_dft.interop.derivatives import derivatives
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.names import get_xc

from .calculations import FUNCTIONALS, SYSTEMS, WATER, densities, enhanced, mole, net, tight


@pytest.mark.parametrize("spin", [0, 1])
@pytest.mark.parametrize(
    "ours, theirs, kind, rows",
    [
        ("native:lda", "lda,pw", "LDA", 1),
        ("native:pbe", "pbe", "GGA", 4),
        ("pbe", "pbe", "GGA", 4),
        ("0.3*hf + 0.7*pbe, pbe", "0.7*pbe,pbe", "GGA", 4),
    ],
)
def test_derivatives_are_those_of_libxc(ours, theirs, kind, rows, spin):
    """Three orders from autograd, in layout and value; both spin treatments."""
    mf = to_pyscf(gto.M(atom="H 0 0 0", spin=1, verbose=0), ours)
    rho = densities(spin + 1, rows)
    rho = rho if spin else rho[0]
    if rows == 1:
        rho = rho[..., 0, :]
    found = mf._numint.eval_xc_eff(mf.xc, rho, 3, xctype=kind)
    wanted = numint.NumInt().eval_xc_eff(theirs, rho, 3, xctype=kind)
    for mine, reference in itertools.zip_longest(found, wanted):
        assert mine.shape == reference.shape
        np.testing.assert_allclose(mine, reference, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HybridXC("pbe", net(4), aweight0=0.3, family="mgga"),
        lambda: enhanced("r2scan"),
        lambda: get_xc("zoo:nn-mgga"),
    ],
    ids=["hybrid", "enhanced", "zoo"],
)
@pytest.mark.parametrize("nspin", [1, 2])
def test_meta_gga_derivatives_are_finite_differences(nspin, make):
    """Of a network, where no library has them; sums and products of parts of several families."""
    functional = make()
    rho = densities(nspin, 5)
    orders = derivatives(functional, rho, 3)
    shift = 1e-6
    for n in range(5 * nspin):
        plus, minus = rho.copy(), rho.copy()
        plus.reshape(5 * nspin, -1)[n] += shift
        minus.reshape(5 * nspin, -1)[n] -= shift
        up, down = derivatives(functional, plus, 2), derivatives(functional, minus, 2)
        for k in range(3):
            numeric = (up[k] - down[k]) / (2 * shift)
            scale = np.abs(orders[k + 1]).max()
            np.testing.assert_allclose(orders[k + 1][n], numeric, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("name", FUNCTIONALS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_energy_is_that_of_our_own_scf(name, system):
    geometry, spin = SYSTEMS[system]
    molecule = Molecule(geometry, basis="sto-3g", spin=spin, grid_level=1)
    functional = FUNCTIONALS[name]()
    ours = KohnSham(molecule, functional, tol=1e-8).run()
    theirs = tight(to_pyscf(molecule, functional), level=1)
    assert isinstance(theirs, dft.uks.UKS if spin else dft.rks.RKS)
    assert theirs.kernel() == pytest.approx(float(ours.energy.detach()), abs=1e-8)
    assert theirs.converged


def test_energy_is_that_of_our_own_scf_with_fitted_density():
    molecule = Molecule(WATER, basis="6-31g", grid_level=0, density_fit=True)
    functional = FUNCTIONALS["nn-hybrid"]()
    ours = KohnSham(molecule, functional, tol=1e-8).run()
    theirs = tight(to_pyscf(molecule, functional))
    assert theirs.kernel() == pytest.approx(float(ours.energy.detach()), abs=1e-8)


@pytest.mark.parametrize(
    "name, system",
    [
        ("nn-gga", "NH"),
        ("nn-hybrid", "H2O"),
        ("nn-range-separated", "H2O"),
        ("enhanced", "NH"),
        ("enhanced-hybrid", "H2O"),
    ],
)
def test_forces_are_finite_differences(name, system):
    geometry, spin = SYSTEMS[system]
    functional = FUNCTIONALS[name]()

    def at(shift: float):
        return tight(to_pyscf(moved(mole(geometry=geometry, spin=spin), shift), functional)).run()

    gradient = at(0.0).nuc_grad_method().kernel()
    steps = 1e-3, 2e-3
    first, second = [(at(h).e_tot - at(-h).e_tot) / (2 * h) for h in steps]
    assert gradient[1, 2] == pytest.approx((4 * first - second) / 3, abs=1e-6)
    molecule = Molecule(geometry, basis="sto-3g", spin=spin, grid_level=0)
    ours = KohnSham(molecule, functional, tol=1e-8).run().forces()
    np.testing.assert_allclose(gradient, -ours.numpy(), atol=1e-6)


class TestAgainstPBEOfPySCF:
    """PBE in torch, differentiated by autograd, next to PySCF's own."""

    @pytest.fixture(scope="class")
    def pair(self):
        own = tight(dft.RKS(mole(), xc="pbe"))
        ours = to_pyscf(own, "native:pbe")
        return ours.run(), own.run()

    @staticmethod
    def both(pair, function):
        return [function(mf) for mf in pair]

    def test_energy(self, pair):
        assert pair[0].e_tot == pytest.approx(pair[1].e_tot, abs=1e-10)
        np.testing.assert_allclose(pair[0].mo_energy, pair[1].mo_energy, atol=1e-9)

    def test_forces_have_the_response_of_the_grid(self, pair):
        ours, own = pair
        wanted = own.nuc_grad_method().set(grid_response=True).kernel()
        np.testing.assert_allclose(ours.nuc_grad_method().kernel(), wanted, atol=1e-8)
        np.testing.assert_allclose(ours.Gradients().kernel(), wanted, atol=1e-8)
        assert np.abs(wanted.sum(0)).max() < 1e-9  # which without it they have not

    def test_hessian(self, pair):
        ours, own = self.both(pair, lambda mf: mf.Hessian().kernel())
        others = ~np.eye(3, dtype=bool)
        np.testing.assert_allclose(ours[others], own[others], atol=1e-7)
        for row in ours:  # of PySCF's own it is 3 on this grid
            total = row.sum(0)
            assert np.abs(total + total.T).max() < 1e-10
        atom = [hessian.rks.Hessian(mf).kernel(atmlst=[0]) for mf in pair]
        np.testing.assert_allclose(*atom, atol=1e-7)

    @pytest.mark.parametrize("singlet", [True, False])
    @pytest.mark.parametrize("method", ["TDDFT", "TDA"])
    def test_excitations(self, pair, method, singlet):
        ours, own = self.both(pair, lambda mf: getattr(mf, method)().set(singlet=singlet, nstates=2).run().e)
        np.testing.assert_allclose(ours, own, atol=1e-7)

    def test_forces_of_an_excited_state(self, pair):
        ours, own = self.both(pair, lambda mf: mf.TDA().run(nstates=2).nuc_grad_method().kernel(state=1))
        np.testing.assert_allclose(ours, own, atol=1e-7)

    @pytest.mark.parametrize(
        "method",
        [
            lambda mf: mf.density_fit(),
            lambda mf: mf.newton(),
            lambda mf: mf.PCM(),
            lambda mf: mf.newton().density_fit(),
            lambda mf: mf.density_fit().newton(),
            lambda mf: mf.PCM().newton(),
            lambda mf: mf.density_fit().PCM(),
            lambda mf: mf.to_uks(),
            lambda mf: mf.as_scanner(),
        ],
        ids=[
            "fit",
            "newton",
            "solvent",
            "newton+fit",
            "fit+newton",
            "solvent+newton",
            "fit+solvent",
            "unrestricted",
            "scanner",
        ],
    )
    def test_what_pyscf_builds_on_top(self, pair, method):
        ours, own = self.both(pair, lambda mf: method(mf))
        for mf in ours, own:
            mf.reset(mole()).run(conv_tol=1e-10, conv_tol_grad=1e-6)
        assert ours.e_tot == pytest.approx(own.e_tot, abs=1e-9)
        assert ours.converged == own.converged
        if not hasattr(ours, "with_solvent"):  # the forces of solvents take seconds
            gradients = own.nuc_grad_method().set(grid_response=True)
            forces = ours.nuc_grad_method().kernel()
            np.testing.assert_allclose(forces, gradients.kernel(), atol=1e-6)

    def test_forces_in_a_solvent(self):
        own = tight(dft.RKS(mole(geometry="F 0 0 0; H 0 0 1.8"), xc="pbe")).PCM()
        ours = to_pyscf(own, "native:pbe")
        wanted = own.run().nuc_grad_method().set(grid_response=True).kernel()
        np.testing.assert_allclose(ours.run().nuc_grad_method().kernel(), wanted, atol=1e-7)

    @pytest.mark.parametrize("method", [dft.UKS, dft.ROKS])
    def test_open_shells(self, method):
        own = tight(method(mole(charge=1, spin=1), xc="pbe"))
        ours = to_pyscf(own, "native:pbe").run()
        own.run()
        assert ours.e_tot == pytest.approx(own.e_tot, abs=1e-9)
        wanted = own.nuc_grad_method().set(grid_response=True).kernel()
        np.testing.assert_allclose(ours.nuc_grad_method().kernel(), wanted, atol=1e-6)
        if method is dft.UKS:
            found, wanted = [mf.TDA().run(nstates=2).e for mf in (ours, own)]
            np.testing.assert_allclose(found, wanted, atol=1e-6)

    def test_hessian_of_an_open_shell(self):
        own = tight(dft.UKS(mole(geometry="N 0 0 0; H 0 0 1.96", spin=2), xc="pbe"))
        ours = to_pyscf(own, "native:pbe")
        found, wanted = [mf.run().Hessian().kernel() for mf in (ours, own)]
        np.testing.assert_allclose(found[0, 1], wanted[0, 1], atol=1e-6)
        np.testing.assert_allclose(found[[0, 1], [0, 1]], -wanted[[0, 1], [1, 0]], atol=1e-6)


class TestHessianOfAMetaGGA:
    """Its force constants are those of the forces, on a grid where PySCF's are a fifth off."""

    HF = "H 0 0 0; F 0 0 1.74"

    @pytest.mark.parametrize("level", [1, pytest.param(3, marks=pytest.mark.slow)])
    def test_force_constants_are_slopes_of_the_forces(self, level):
        mol, step = mole(geometry=self.HF), 5e-3
        at = [tight(to_pyscf(moved(mol, shift), "r2scan"), level).run() for shift in (0.0, step, -step)]
        _, up, down = (mf.nuc_grad_method().kernel()[:, 2] for mf in at)
        found = at[0].Hessian().kernel()[:, :, 2, 2]
        np.testing.assert_allclose(found[1], (up - down) / (2 * step), atol=5e-3)
        np.testing.assert_allclose(found[0, 0], found[1, 1], atol=1e-12)
        rest = hessian.rks.Hessian(at[0]).kernel()[:, :, 2, 2]  # PySCF's own, for comparison
        assert abs(rest[1, 1] - found[1, 1]) > 0.05

    @pytest.mark.parametrize(
        "method",
        [
            lambda mf: mf,
            lambda mf: mf.newton(),
            lambda mf: mf.density_fit(),
            lambda mf: mf.to_uks(),
            pytest.param(lambda mf: mf.density_fit().PCM(), marks=pytest.mark.slow),
        ],
        ids=["plain", "newton", "fit", "unrestricted", "solvent"],
    )
    def test_a_molecule_moved_as_a_whole_feels_nothing(self, method):
        mf = method(to_pyscf(mole(geometry=self.HF), "r2scan"))
        mf.grids.level = 0
        found = mf.run().Hessian().kernel()
        assert np.abs(found.sum(1)).max() < 1e-9

    def test_some_atoms_alone(self):
        mf = tight(to_pyscf(mole(), "r2scan")).run()
        whole = mf.Hessian().kernel()
        np.testing.assert_allclose(whole, whole.transpose(1, 0, 3, 2), atol=1e-12)
        part = mf.Hessian()
        part.atmlst = [2, 0]
        np.testing.assert_allclose(part.kernel(), whole[np.ix_([2, 0], [2, 0])], atol=1e-10)
        assert list(part.atmlst) == [2, 0]
        np.testing.assert_allclose(mf.Hessian().hess(atmlst=[1]), whole[1:2, 1:2], atol=1e-10)

    @pytest.mark.slow
    def test_stretch_of_hf_with_a_trained_functional(self):
        """By the force constant of the fluorine, which PySCF has 65 cm-1 too high."""

        def at(distance: float):
            mol = gto.M(atom=f"H 0 0 0; F 0 0 {distance}", basis="def2-svp", verbose=0)
            return tight(to_pyscf(mol, "zoo:nn-mgga"), level=3).run()

        mass = 1.007825 * 18.998403 / (1.007825 + 18.998403) * 1822.888486
        constants = at(0.92).Hessian().kernel()[:, :, 2, 2]
        wavenumbers = np.sqrt(np.diag(constants) / mass) * 219474.63
        np.testing.assert_allclose(wavenumbers, 4148, atol=4)
        up, down = (at(r).nuc_grad_method().kernel()[1, 2] for r in (0.925, 0.915))
        slope = (up - down) / (0.01 * 1.8897259886)
        assert np.sqrt(slope / mass) * 219474.63 == pytest.approx(4148, abs=4)


def moved(mol, shift: float):
    """The molecule with its second atom shifted along z (Bohr)."""
    where = mol.atom_coords()
    where[1, 2] += shift
    return mol.set_geom_(where, unit="bohr", inplace=False)


class TestUntrainedHybridMetaGGA:
    """Everything at once: network, conventional part and exact exchange."""

    @pytest.fixture(scope="class")
    def mf(self):
        mf = to_pyscf(mole("6-31g", "H 0 0 0; F 0 0 1.8"), FUNCTIONALS["nn-hybrid"]())
        return tight(mf).run()

    @pytest.fixture(scope="class")
    def stretched(self):
        """H2 and its neighbours, on a grid fine enough for second derivatives."""
        mol = mole("6-31g", "H 0 0 0; H 0 0 1.5")
        at = [to_pyscf(moved(mol, shift), FUNCTIONALS["nn-hybrid"]()) for shift in (0.0, 2e-3, -2e-3)]
        return [tight(mf, level=2).run() for mf in at]

    def test_second_order_scf_finds_the_same(self, mf):
        assert mf.newton().run().e_tot == pytest.approx(mf.e_tot, abs=1e-9)

    def test_hessian_is_the_slope_of_the_forces(self, stretched):
        mf, plus, minus = stretched
        up, down = [at.nuc_grad_method().kernel()[1, 2] for at in (plus, minus)]
        found = mf.Hessian().kernel()[1, 1, 2, 2]
        assert found == pytest.approx((up - down) / 4e-3, abs=1e-4)

    def test_forces_of_an_excited_state_are_finite_differences(self, stretched):
        mf, plus, minus = stretched
        up, down = [at.e_tot + at.TDDFT().run(nstates=1, conv_tol=1e-9).e[0] for at in (plus, minus)]
        found = mf.TDDFT().run(nstates=1, conv_tol=1e-9).nuc_grad_method().kernel(state=1)
        assert found[1, 2] == pytest.approx((up - down) / 4e-3, abs=1e-4)

    def test_excitations_are_positive_and_triplets_lower(self, mf):
        singlets = mf.TDDFT().set(nstates=2).run().e
        triplets = mf.TDDFT().set(nstates=2, singlet=False).run().e
        assert 0 < triplets[0] < singlets[0]

    def test_fitting_basis_is_one_for_exact_exchange(self, mf):
        fitted, exchange = mf.density_fit().run(), scf.RHF(mf.mol).density_fit().run()
        coulomb = dft.RKS(mf.mol, xc="pbe").density_fit(auxbasis="def2-universal-jfit").run()
        counts = [one.with_df.get_naoaux() for one in (fitted, exchange, coulomb)]
        assert counts[0] == counts[1] > counts[2]
        assert fitted.e_tot == pytest.approx(mf.e_tot, abs=2e-4)

    def test_solvent_stabilises_a_dipole(self, mf):
        assert mf.e_tot - 0.05 < mf.PCM().run().e_tot < mf.e_tot


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("geometric") is None, reason="geomeTRIC is not installed")
@pytest.mark.parametrize(
    "geometry",
    ["O 0 0 0.23; H 0 1.5 -0.9; H 0 -1.4 -0.9", "C 0 0 -1.0; O 0 0 1.3; H 0 1.8 -2.1; H 0 -1.8 -2.1"],
    ids=["water", "formaldehyde"],
)
def test_geometry_optimisation_converges(geometry):
    from pyscf.geomopt import geometric_solver

    mf = to_pyscf(mole("6-31g", geometry), FUNCTIONALS["nn-hybrid"]())
    converged, relaxed = geometric_solver.kernel(mf)
    assert converged
    forces = to_pyscf(relaxed, mf._numint.functional).run().nuc_grad_method().kernel()
    assert np.abs(forces).max() < 1e-3
