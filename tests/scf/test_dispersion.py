"""Dispersion in a self-consistent field: energies, forces and slopes, however they are computed."""

import pickle

import pytest
import torch
from pyscf import dft
from pyscf.dispersion.dftd4 import DFTD4Dispersion

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.frozen.binned import BinnedDensities, BinnedDensity, bin_density
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.xc import EnsembleXC, HybridXC, Libxc, build_network
from deepchem_dft.xc.dispersion import Dispersion

GEOMETRY = "F 0 0 0; H 0 0 1.75; Ne 0.3 0 7.0"
OWN = {"s6": 0.9, "s8": 1.3, "s9": 0.7, "a1": 0.31, "a2": 3.9}


def molecule(**options) -> Molecule:
    return Molecule(GEOMETRY, "6-31g", **{"grid_level": 0, **options})


def learned(model: str = "d4", **options) -> HybridXC:
    """A network and damping parameters to train, and b to scale nothing of the dispersion."""
    network = build_network(family="gga", hidden=(4,), output="lda_exchange", zero_last=False, seed=1)
    xc = HybridXC("pbe", network, aweight0=0.2)
    xc.dispersion = Dispersion(model, **OWN, train=["s8", "s9", "a1", "a2"], **options)
    return xc


@pytest.mark.parametrize(
    ("ours", "theirs", "disp"),
    [("pbe+d3bj", "pbe", "d3bj"), ("r2scan+d4", "r2scan", "d4"), ("b3lyp+d4", "b3lyp", "d4")],
)
def test_energies_and_forces_are_those_of_pyscf(ours, theirs, disp):
    result = KohnSham(molecule(), ours, tol=1e-8).run()
    mf = dft.RKS(molecule().pyscf_mol)
    mf.xc, mf.disp, mf.grids.level, mf.small_rho_cutoff, mf.conv_tol = theirs, disp, 0, 0.0, 1e-12
    assert result.energy.item() == pytest.approx(mf.kernel(), abs=1e-9)
    gradients = mf.nuc_grad_method()
    gradients.grid_response = True
    assert torch.allclose(result.forces(), -torch.from_numpy(gradients.kernel()), atol=1e-7, rtol=0)
    terms = result.energy_terms
    assert terms["dispersion"] == pytest.approx(float(mf.get_dispersion()), abs=1e-13)
    assert sum(terms.values()) == pytest.approx(result.energy.item(), abs=1e-12)
    assert (terms["exact_exchange"] != 0.0) == (theirs == "b3lyp")
    plain = KohnSham(molecule(), theirs, tol=1e-8).run()
    assert terms["exchange_correlation"] == pytest.approx(
        plain.energy_terms["exchange_correlation"], abs=1e-10
    )


def test_parameters_of_ones_own_are_those_of_the_library_beside_pyscf():
    xc = Libxc("r2scan")
    xc.dispersion = Dispersion("d4", **OWN)
    result = KohnSham(molecule(), xc, tol=1e-8).run()
    mf = dft.RKS(molecule().pyscf_mol)
    mf.xc, mf.grids.level, mf.small_rho_cutoff, mf.conv_tol = "r2scan", 0, 0.0, 1e-12
    library = DFTD4Dispersion(mf.mol, "pbe")
    library.set_param(**OWN)
    expected = library.get_dispersion(grad=True)
    assert result.energy.item() == pytest.approx(mf.kernel() + float(expected["energy"]), abs=1e-9)
    gradients = mf.nuc_grad_method()
    gradients.grid_response = True
    forces = -torch.from_numpy(gradients.kernel() + expected["gradient"])
    assert torch.allclose(result.forces(), forces, atol=1e-7, rtol=0)


def test_forces_are_the_slopes_of_the_energy():
    xc, step = learned(), 0.01
    forces = KohnSham(molecule(), xc, tol=1e-8).run().forces()
    energies = []
    for place in (7.0 + step, 7.0 - step):
        moved = Molecule(GEOMETRY.replace("7.0", str(place)), "6-31g", grid_level=0)
        energies.append(KohnSham(moved, xc, tol=1e-8).run().energy.item())
    assert forces[2, 2].item() == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("model", ["d3bj", "d4"])
def test_slopes_of_the_energy_by_parameters(model):
    xc, step = learned(model), 2e-4
    result = KohnSham(molecule(), xc, tol=1e-9).run()
    parameters = [p for p in xc.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(result.energy, parameters, allow_unused=True)
    frozen = torch.autograd.grad(result.frozen.energy(xc), parameters, allow_unused=True)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(slopes, frozen, strict=True))
    named = dict(zip(map(id, parameters), slopes, strict=True))
    for name in ("s8", "s9", "a1", "a2"):
        parameter, energies = getattr(xc.dispersion, name), []
        for change in (step, -2 * step):
            with torch.no_grad():
                parameter += change
            energies.append(KohnSham(molecule(), xc, tol=1e-9).run().energy.item())
        with torch.no_grad():
            parameter += step
        slope = (energies[0] - energies[1]) / (2 * step)
        assert named[id(parameter)].item() == pytest.approx(slope, abs=2e-9)


def test_every_way_to_the_energy_has_it():
    """Two grids, side by side, another process, a frozen density, merged points."""
    xc = learned()
    result = KohnSham(molecule(), xc, tol=1e-8).run()
    energy = result.energy.item()
    assert abs(result.energy_terms["dispersion"]) > 1e-5
    warm = KohnSham(molecule(), xc, tol=1e-8, two_grid=True).run(guess=result)
    assert warm.energy.item() == pytest.approx(energy, abs=1e-9)
    pair = solve_batch([KSHamiltonian(molecule(), xc), KSHamiltonian(molecule(), xc)], tol=1e-8)
    assert [s.evaluation.energy for s in pair] == pytest.approx([energy, energy], abs=1e-9)
    copied = pickle.loads(pickle.dumps(result))
    assert copied.energy.item() == energy
    assert copied.frozen.energy(xc).item() == pytest.approx(energy, abs=1e-11)


def test_merged_points_have_it_and_their_files_keep_it(tmp_path):
    xc = learned()
    result = KohnSham(molecule(), xc, tol=1e-8).run()
    few = bin_density(result.frozen, xc)
    few.save(tmp_path / "density.pt")
    kept = BinnedDensities([BinnedDensity.load(tmp_path / "density.pt"), few])
    own = result.frozen.energy(xc) - xc.dispersion.energy(result.frozen.nuclei)
    bare = HybridXC("pbe", xc.nnxc, aweight0=0.2)
    without = kept.energies(bare) - own
    assert torch.allclose(kept.energies(xc) - result.frozen.energy(xc), without, atol=1e-12)
    (slope,) = torch.autograd.grad(kept.energies(xc).sum(), [xc.dispersion.a1])
    (once,) = torch.autograd.grad(result.frozen.energy(xc), [xc.dispersion.a1])
    assert slope.item() == pytest.approx(2 * once.item(), rel=1e-12)


def test_an_ensembles_members_differ_in_their_dispersion_too():
    members = EnsembleXC(["pbe+d3bj", "pbe+d4"])
    result = KohnSham(molecule(), members, tol=1e-8).run()
    first, second = members.energies(result).tolist()
    assert (first + second) / 2 == pytest.approx(result.energy.item(), abs=1e-11)
    d3, d4 = (member.dispersion.energy(result.frozen.nuclei).item() for member in members)
    assert first - second == pytest.approx(d3 - d4, abs=1e-11)
    members.dispersion = Dispersion("d3bj", **OWN)  # of all of them
    common = members.dispersion.energy(result.frozen.nuclei).item()
    assert members.energies(result).tolist() == pytest.approx([first + common, second + common], abs=1e-11)
