"""DQC as a second opinion: the same energies, densities and gradients from another program."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft.errors import DeepChemDFTError, FunctionalError, InputError, SCFNotConverged
from deepchem_dft.interop.dqc import engine as dqc_module
from deepchem_dft.interop.dqc.engine import dqc_available, run_dqc
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.neural import NNLDA, NNMGGA, NNPBE

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
SYSTEMS = {
    "H2": ("H 0 0 0; H 0 0 1.4", "6-311++G(3df,3pd)", 0),
    "LiH": ("Li 0 0 0; H 0 0 3.014", "6-311++G**", 0),
    "H2O": (WATER, "3-21G", 0),
    "N2": ("N 0 0 0; N 0 0 2.0744", "6-31G*", 0),
    "N": ("N 0 0 0", "def2-svp", 3),
    "O2": ("O 0 0 0; O 0 0 2.2818", "3-21G", 2),
}
NEURAL = {"lda": (NNLDA, 2), "gga": (NNPBE, 3), "mgga": (NNMGGA, 4)}


def molecule(name: str, **options) -> Molecule:
    geometry, basis, spin = SYSTEMS[name]
    return Molecule(geometry, basis=basis, spin=spin, grid_level=1, **options)


def neural(family: str, seed: int = 0, dtype: torch.dtype = torch.float64):
    """PBE (or LDA) plus an untrained network, which changes energies by some 0.1 Ha."""
    torch.manual_seed(seed)
    make, width = NEURAL[family]
    network = nn.Sequential(nn.Linear(width, 8), nn.SiLU(), nn.Linear(8, 1)).to(dtype)
    with torch.no_grad():
        network[2].weight *= 0.1
    return HybridXC("lda,pw" if family == "lda" else "pbe", make(network), aweight0=1.0)


def gradient(energy, xc) -> torch.Tensor:
    wanted = [p for p in xc.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(energy, wanted)])


@pytest.mark.dqc
@pytest.mark.parametrize("name", ["H2O", "O2"])
@pytest.mark.parametrize("xc", ["lda,pw", "pbe", "r2scan"])
def test_conventional_functionals_agree(name, xc):
    mol = molecule(name)
    ours = KohnSham(mol, xc, tol=1e-8).run()
    theirs = KohnSham(mol, xc, tol=1e-8, engine="dqc").run()
    assert theirs.converged
    # the promise is 2e-5 Ha; with one grid and one basis only rounding is left
    assert float(theirs.energy - ours.energy) == pytest.approx(0, abs=1e-9)
    assert torch.allclose(theirs.density_matrix, ours.density_matrix, atol=1e-6)
    assert torch.allclose(theirs.orbital_energies, ours.orbital_energies, atol=1e-6)
    assert torch.allclose(theirs.dipole, ours.dipole, atol=1e-5)
    points = mol.points[:50]
    assert torch.allclose(theirs.density(points), ours.density(points), atol=1e-6)


@pytest.mark.dqc
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("H2", "gga"),
        ("LiH", "lda"),
        ("LiH", "gga"),
        ("H2O", "mgga"),
        ("N2", "gga"),
        ("N", "lda"),
        ("O2", "gga"),
    ],
)
def test_neural_functionals_agree_in_energy_and_gradient(name, family):
    mol, xc = molecule(name), neural(family)
    ours = KohnSham(mol, xc, tol=1e-8).run()
    theirs = run_dqc(mol, xc, tol=1e-7)
    assert float((theirs.energy - ours.energy).detach()) == pytest.approx(0, abs=1e-8)
    reference = gradient(ours.energy, xc)
    assert reference.abs().max() > 1e-2  # there is something to compare
    assert (gradient(theirs.energy, xc) - reference).norm() < 1e-5 * reference.norm()


@pytest.mark.dqc
def test_density_gradients_are_implicit():
    mol, xc = molecule("LiH"), neural("gga")
    weight = [p for p in xc.parameters() if p.ndim == 2][0]

    slope = torch.autograd.grad(run_dqc(mol, xc, tol=1e-9).dipole[2], weight)[0][0, 0]
    shifted = []
    with torch.no_grad():
        for shift in (1e-3, -1e-3):
            weight[0, 0] += shift
            shifted.append(float(run_dqc(mol, xc, tol=1e-9).dipole[2]))
            weight[0, 0] -= shift
    difference = (shifted[0] - shifted[1]) / 2e-3
    assert abs(difference) > 1e-4
    assert float(slope) == pytest.approx(difference, rel=1e-4)


@pytest.mark.dqc
def test_float32_networks_run_and_get_gradients():
    mol = molecule("H2")
    double, single = neural("gga"), neural("gga", dtype=torch.float32)
    exact, rough = run_dqc(mol, double), run_dqc(mol, single)
    assert float((rough.energy - exact.energy).detach()) == pytest.approx(0, abs=1e-5)
    assert torch.allclose(
        gradient(rough.energy, single).double(), gradient(exact.energy, double), rtol=1e-3, atol=1e-5
    )


@pytest.mark.dqc
def test_restricted_and_unrestricted_agree_and_fractions_run():
    mol, xc = molecule("LiH"), neural("gga")
    with torch.no_grad():
        closed, opened = run_dqc(mol, xc), run_dqc(mol, xc, restricted=False)
        assert closed.restricted and not opened.restricted
        assert float(closed.energy) == pytest.approx(float(opened.energy), abs=1e-9)
        half = Molecule("Li 0 0 0", basis="3-21G", nelec=(1.5, 1.0), grid_level=1)
        theirs, ours = run_dqc(half, xc), KohnSham(half, xc).run()
    assert float(theirs.total_density_matrix.mul(half.overlap).sum()) == pytest.approx(2.5)
    assert float(theirs.energy) == pytest.approx(float(ours.energy.detach()), abs=1e-8)


@pytest.mark.dqc
@pytest.mark.parametrize(
    ("geometry", "occupations"),
    [
        ("B 0 0 0", ([1, 1, 1 / 3, 1 / 3, 1 / 3], [1, 1])),  # round
        (SYSTEMS["LiH"][0], ([1, 0.75, 0.25], [1, 0.75, 0.25])),  # equal: restricted
        (SYSTEMS["LiH"][0], ([1, 1], [1, 0.75, 0.25])),  # as many of each spin, in other orbitals
    ],
)
def test_explicit_occupations_are_those_of_the_native_engine(geometry, occupations):
    mol, xc = Molecule(geometry, basis="6-31g", grid_level=1, occupations=occupations), "lda,pw"
    ours = KohnSham(mol, xc, tol=1e-8).run()
    theirs = KohnSham(mol, xc, tol=1e-7, engine="dqc").run(guess=ours.state)
    assert theirs.restricted == ours.restricted == (occupations[0] == occupations[1])
    assert float(theirs.energy - ours.energy) == pytest.approx(0, abs=1e-8)
    sizes = torch.tensor([row + [0] * (mol.nao - len(row)) for row in occupations]).double()
    if ours.restricted:
        sizes = sizes.sum(0, keepdim=True)
    assert torch.allclose(theirs.occupations, sizes, atol=1e-7)
    if occupations[0] != occupations[1]:
        with pytest.raises(InputError, match="alpha"):
            run_dqc(mol, xc, restricted=True)


@pytest.mark.dqc
def test_occupations_with_holes_are_refused():
    """DQC's own words: weights that rise give results that might be wrong."""
    mol = Molecule("B 0 0 0", basis="6-31g", grid_level=0, occupations=([1, 0.5, 1], [1, 1, 0.5]))
    with pytest.raises(InputError, match="holes") as caught:
        run_dqc(mol, "lda,pw")
    assert caught.value.field == "occupations"


@pytest.mark.dqc
def test_either_engines_solution_starts_the_other():
    mol = molecule("H2O")
    ours, theirs = KohnSham(mol, "pbe").run(), run_dqc(mol, "pbe")
    assert run_dqc(mol, "pbe", guess=ours.state).iterations < theirs.iterations
    assert run_dqc(mol, "pbe", guess=ours).iterations < theirs.iterations
    assert KohnSham(mol, "pbe").run(guess=theirs.state).iterations <= 2
    with pytest.raises(InputError, match="guess"):
        run_dqc(mol, "pbe", guess=torch.zeros(2, 2))


@pytest.mark.dqc
def test_an_unconverged_energy_is_never_silent():
    mol = molecule("H2O")
    with pytest.raises(SCFNotConverged, match="DQC did not converge") as caught:
        run_dqc(mol, "pbe", max_iter=1)
    assert caught.value.result.commutator > 1e-4
    result = run_dqc(mol, neural("gga"), max_iter=1, on_unconverged="continue")
    assert not result.converged and math.isfinite(result.energy)
    assert not result.energy.requires_grad and not result.density_matrix.requires_grad
    assert "max_iter" in str(result.status)


@pytest.mark.dqc
def test_what_dqc_cannot_do_is_refused(monkeypatch):
    mol = molecule("H2O")
    with pytest.raises(FunctionalError, match="exact exchange"):
        run_dqc(mol, "b3lyp")
    with pytest.raises(InputError, match="core potential"):
        run_dqc(Molecule("I 0 0 0", basis="def2-svp", spin=1, grid_level=0), "pbe")
    with pytest.raises(InputError, match="unpaired"):
        run_dqc(molecule("O2"), "pbe", restricted=True)
    with pytest.raises(DeepChemDFTError, match="forces"):
        run_dqc(molecule("H2"), "pbe").forces()
    monkeypatch.setattr(dqc_module, "_COPIES", 10**9)
    with pytest.raises(InputError, match="GiB"):
        run_dqc(mol, "pbe")
    monkeypatch.undo()
    poisoned = neural("gga")
    with torch.no_grad():
        next(p for p in poisoned.parameters() if p.ndim == 2)[0, 0] = math.nan
    with pytest.raises(FunctionalError, match="not numbers"):
        run_dqc(molecule("H2"), poisoned)


@pytest.mark.dqc
@pytest.mark.parametrize("basis", ["6-31+G*", "6-311++G(3df,3pd)", "cc-pvdz"])
def test_matrices_in_dqcs_own_order_are_read_right(basis):
    import dqc
    from dqc.hamilton import intor

    from deepchem_dft.data.ao_order import dqc_transform
    from deepchem_dft.data.system import DFTSystem

    geometry = "N 0 0 0; O 0.3 1.0 1.9"
    transform = torch.tensor(dqc_transform(DFTSystem({"moldesc": geometry, "basis": basis, "spin": 1})))
    ours = Molecule(geometry, basis=basis, spin=1, grid_level=0).overlap
    theirs = intor.overlap(dqc.Mol(geometry, basis=basis).get_hamiltonian().libcint_wrapper)
    assert not torch.allclose(theirs, ours, atol=1e-3)  # the orders do differ
    assert torch.allclose(transform.T @ ours @ transform, theirs, atol=1e-6)


@pytest.mark.dqc
def test_pyscf_still_works_after_dqc_has_loaded_its_libraries():
    # DQC brings older libraries under the names of PySCF's; loaded first, they would break PySCF
    code = """
from deepchem_dft.interop.dqc.engine import dqc_available
assert dqc_available()[0]
import dqc
one = dqc.Mol("H 0 0 0; H 0 0 1.4", basis=dqc.loadbasis("1:3-21G"), grid="sg2")
dqc.KS(one, xc="lda_x").run()
from pyscf import cc, dft, fci, gto, scf
mol = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="3-21G", verbose=0)
dft.RKS(mol, xc="pbe").density_fit().run()
mf = scf.RHF(mol).run()
print(cc.CCSD(mf).run().e_tot - fci.FCI(mf).kernel()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout.split()[-1])) < 1e-6  # for two electrons CCSD is exact


def test_without_dqc_the_reason_and_the_remedy_are_given(monkeypatch):
    monkeypatch.setattr(dqc_module.importlib.util, "find_spec", lambda name: None)
    available, why = dqc_available()
    assert not available and "deepchem-dft install-dqc" in why
    with pytest.raises(InputError, match="install-dqc"):
        KohnSham(molecule("H2"), "pbe", engine="dqc").run()


@pytest.mark.dqc
def test_density_file_on_dqcs_own_grid(tmp_path):
    """A bare .npy with ``grid: dqc`` is read on the grid DQC makes, and integrates to N."""
    from deepchem_dft.data import read_yaml
    from deepchem_dft.data.system import DFTSystem
    from deepchem_dft.interop.dqc.engine import default_grid

    helium = DFTSystem({"moldesc": "He 0 0 0", "basis": "6-31g"})
    points, _ = default_grid(helium)
    result = KohnSham(helium.to_molecule(grid_level=1), "pbe").run()
    np.save(tmp_path / "he.npy", result.density(points).detach().numpy())
    (tmp_path / "he.yaml").write_text(
        "- e_type: dens\n  true_val: he.npy\n  grid: dqc\n  systems:\n  - {moldesc: He 0 0 0, basis: 6-31g}\n"
    )
    # from the command line, in a process where nothing has asked for DQC yet
    done = subprocess.run(
        [sys.executable, "-m", "deepchem_dft", "data", "check", str(tmp_path / "he.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "no problems" in done.stdout, done.stderr
    entry = read_yaml(tmp_path / "he.yaml")[0]
    assert float((entry.density * entry.weights).sum()) == pytest.approx(2.0, abs=1e-3)
    assert float(entry.deviation(result).detach()) < 1e-10
