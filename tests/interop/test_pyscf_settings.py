"""What PySCF's objects lend a functional, what is refused, and dispersion by PySCF's own hook."""

import importlib.util
import types

import numpy as np
import pytest
import torch
from pyscf import dft, scf

from deepchem_dft import zoo
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.interop.pyscf import BORROWS_DISPERSION, to_pyscf
from deepchem_dft.molecule import Molecule
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.neural import NNLDA, NNMGGA, NNPBE

from .calculations import FUNCTIONALS, densities, mole, net, tight


def test_the_given_object_is_left_alone_and_lends_its_settings():
    own = tight(dft.RKS(mole(), xc="b3lyp")).run(max_cycle=2)
    before = own.e_tot
    ours = to_pyscf(own, "pbe")
    assert (own.xc, own.e_tot, type(own)) == ("b3lyp", before, dft.rks.RKS)
    assert (ours.conv_tol, ours.grids.level, ours.max_cycle) == (1e-12, 0, 2)
    assert ours.mo_coeff is None and ours.grids is not own.grids
    assert not own.nuc_grad_method().grid_response


def test_weights_trained_further_are_seen():
    functional = NNPBE(net(3))
    mf = tight(to_pyscf(mole(geometry="He 0 0 0"), functional))
    before = mf.kernel()
    with torch.no_grad():
        functional.nnmodel[-1].bias += 0.01  # Ha per electron
    assert mf.kernel() == pytest.approx(before + 0.02, abs=1e-4)  # a coarse grid


def test_trained_functionals_are_found_by_name(tmp_path, monkeypatch):
    functional = FUNCTIONALS["nn-hybrid"]()
    zoo.save(functional, tmp_path / "mine.safetensors", summary="untrained")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(tmp_path))
    energies = [tight(to_pyscf(mole(), xc)).kernel() for xc in (functional, "zoo:mine")]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)


@pytest.mark.gpu
def test_a_functional_on_a_gpu_runs_there():
    functional = HybridXC("native:pbe", net(4), aweight0=0.05, family="mgga")
    energies = [tight(to_pyscf(mole(), functional.to(device))).kernel() for device in ("cpu", "cuda")]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_a_mole_is_run_restricted_only_where_that_is_right():
    assert isinstance(to_pyscf(mole(), "pbe"), dft.rks.RKS)
    assert isinstance(to_pyscf(mole(charge=1, spin=1), "pbe"), dft.uks.UKS)
    assert isinstance(to_pyscf(mole(), NNLDA(net(2), spin_symmetric=False)), dft.uks.UKS)


def test_laplacian_of_older_pyscf_is_skipped():
    mf = to_pyscf(mole(), NNMGGA(net(4)))
    rho = densities(1, 5)[0]
    with_laplacian = np.insert(rho, 4, 99.0, axis=0)
    for mine, other in zip(
        mf._numint.eval_xc_eff(mf.xc, rho, 1)[:2], mf._numint.eval_xc_eff(mf.xc, with_laplacian, 1)[:2]
    ):
        np.testing.assert_array_equal(mine, other)


class TwoRanges(XCFunctional):
    exchange_terms = [(0.1, None), (0.2, 0.3), (0.3, 0.4)]


class Wrapped(XCFunctional):
    """A functional of the user's around one of libxc's."""

    family = "gga"

    def __init__(self) -> None:
        super().__init__()
        self.inner = Libxc("pbe")

    def energy_density(self, rho):
        return self.inner.energy_density(rho)


class Broken(XCFunctional):
    def energy_density(self, rho):
        return rho[:, 0].sum(0) * torch.nan


def test_a_functional_around_libxc_is_differentiated_like_it():
    wrapped = tight(to_pyscf(mole(), Wrapped())).run()
    own = tight(dft.RKS(mole(), xc="pbe")).run()
    ours, theirs = (mf.TDA().run(nstates=1) for mf in (wrapped, own))
    np.testing.assert_allclose(ours.e, theirs.e, atol=1e-7)
    forces = [td.nuc_grad_method().kernel(state=1) for td in (ours, theirs)]
    np.testing.assert_allclose(*forces, atol=1e-6)


def gpu_calculation():
    return type("RKS", (dft.rks.RKS,), {"__module__": "gpu4pyscf.dft.rks"})(mole())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: scf.RHF(mole()), "RHF is no Kohn-Sham"),
        (lambda: dft.GKS(mole()), "GKS is not supported"),
        (lambda: dft.RKS(mole()).newton(), "already of second order"),
        (lambda: dft.RKS(mole()).set(omega=0.3), "omega is set"),
        (gpu_calculation, "GPU4PySCF"),
        (lambda: 3, "int is no Kohn-Sham"),
        (lambda: Molecule("H 0 0 0", "sto-3g", nelec=(0.5, 0.5)), "cannot occupy"),
    ],
    ids=["hf", "gks", "newton", "omega", "gpu", "number", "fractional"],
)
def test_objects_that_cannot_take_a_functional(make, message):
    with pytest.raises(InputError, match=message):
        to_pyscf(make(), "pbe")


def test_periodic_systems_are_refused():
    from pyscf.pbc import dft as pbc_dft
    from pyscf.pbc import gto as pbc_gto

    cell = pbc_gto.M(atom="He 0 0 0", a=np.eye(3) * 4, basis="sto-3g", verbose=0)
    for given in cell, pbc_dft.RKS(cell):
        with pytest.raises(InputError, match="periodic"):
            to_pyscf(given, "pbe")


def test_functionals_that_cannot_be_run():
    with pytest.raises(FunctionalError, match="not spin-symmetric"):
        to_pyscf(dft.RKS(mole()), NNLDA(net(2), spin_symmetric=False))
    with pytest.raises(FunctionalError, match="one range of exact exchange"):
        to_pyscf(mole(), TwoRanges())
    with pytest.raises(FunctionalError, match="unknown functional"):
        to_pyscf(mole(), "pbee")
    with pytest.raises(FunctionalError, match="not finite"):
        to_pyscf(mole(), Broken()).kernel()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda mf: mf.set(xc="b3lyp").kernel(), "this calculation runs"),
        (lambda mf: mf.set(nlc="vv10").kernel(), "not 'vv10'"),
        (lambda mf: mf.set(omega=0.2).kernel(), "omega is set"),
        (lambda mf: mf.to_gpu(), "GPU4PySCF"),
        (lambda mf: mf._numint.eval_xc(mf.xc, None), "squared gradient"),
    ],
    ids=["xc", "nlc", "omega", "gpu", "eval_xc"],
)
def test_changes_that_would_go_unnoticed_are_refused(change, message):
    """All of these would otherwise run the functional unchanged, or another one."""
    with pytest.raises(InputError, match=message):
        change(to_pyscf(mole(), NNPBE(net(3))))


needs_borrowing = pytest.mark.skipif(
    not BORROWS_DISPERSION, reason="PySCF older than 2.13 borrows no dispersion parameters"
)


class TestDispersion:
    """PySCF's own hook; the parameters are those of a functional that has some."""

    def test_without_parameters_is_refused(self):
        mf = to_pyscf(mole(), NNPBE(net(3))).set(disp="d3bj")
        with pytest.raises(InputError, match="d3bj:pbe"):
            mf.kernel()

    @needs_borrowing
    def test_energy_is_added_with_the_parameters_named(self, monkeypatch):
        from pyscf.scf import dispersion

        asked = []

        class Model:
            def __init__(self, mol, xc, version="d4", atm=False):
                asked.append((xc, version))

            def get_dispersion(self, grad=False):
                return {"energy": -0.25, "gradient": np.full((1, 3), 0.5)}

        monkeypatch.setattr(dispersion, "dftd3", types.SimpleNamespace(DFTD3Dispersion=Model))
        mf = to_pyscf(mole(geometry="He 0 0 0"), FUNCTIONALS["nn-gga"]())
        plain = mf.kernel()
        assert mf.set(disp="d3bj:pbe").kernel() == pytest.approx(plain - 0.25, abs=1e-8)
        assert set(asked) == {("pbe", "d3bj")}
        named = to_pyscf(mole(geometry="He 0 0 0"), "b3lyp").set(disp="d3bj")
        named.kernel()
        assert asked[-1] == ("b3lyp", "d3bj")

    def test_an_old_pyscf_is_named(self, monkeypatch):
        monkeypatch.setattr("deepchem_dft.interop.pyscf.BORROWS_DISPERSION", False)
        with pytest.raises(InputError, match="PySCF 2.13 or newer"):
            to_pyscf(mole(), NNPBE(net(3))).set(disp="d3bj:pbe").kernel()

    @needs_borrowing
    @pytest.mark.skipif(
        importlib.util.find_spec("pyscf.dispersion") is None, reason="pyscf-dispersion is not installed"
    )
    @pytest.mark.parametrize("version", ["d3bj", "d4"])
    def test_correction_is_that_of_the_functional_named(self, version):
        mf = tight(to_pyscf(mole(), FUNCTIONALS["nn-gga"]()))
        plain = mf.kernel()
        own = dft.RKS(mole(), xc="pbe").set(disp=version)
        corrected = mf.set(disp=f"{version}:pbe").kernel()
        assert corrected - plain == pytest.approx(own.get_dispersion(), abs=1e-9)
        assert np.isfinite(mf.nuc_grad_method().kernel()).all()
