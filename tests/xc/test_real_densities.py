"""Functionals on the grid of a real molecule, tails and all, and on a GPU."""

import numpy as np
import pytest
import torch
from pyscf import dft, gto
from pyscf.dft.numint import NumInt

from deepchem_dft.xc import NNMGGA, PBE, HybridXC, Libxc, build_network, get_xc


def grid_density(atom, spin):
    """Density rows (2, 5, G) of the atomic guess and the quadrature weights."""
    mol = gto.M(atom=atom, basis="def2-svp", spin=spin, verbose=0)
    mf = dft.UKS(mol)
    mf.grids.level = 1
    mf.grids.build()
    dm = mf.get_init_guess()
    if mol.nelectron == 1:
        dm[1] = 0.0
    ao = dft.numint.eval_ao(mol, mf.grids.coords, deriv=1)
    rho = [dft.numint.eval_rho(mol, ao, d, xctype="MGGA", with_lapl=False) for d in dm]
    return torch.from_numpy(np.stack(rho)), torch.from_numpy(mf.grids.weights), (mol, mf, dm)


@pytest.mark.parametrize("atom, spin", [("H 0 0 0", 1), ("O 0 0 0", 2), ("N 0 0 0; N 0 0 1.1", 0)])
def test_energy_is_that_of_pyscf_and_everything_is_finite(atom, spin, assert_finite):
    rho, weights, (mol, mf, dm) = grid_density(atom, spin)
    for name, functional in (("pbe", Libxc("pbe")), ("pbe", PBE()), ("r2scan", Libxc("r2scan"))):
        expected = NumInt().nr_uks(mol, mf.grids, name, dm)[1]
        energy = assert_finite(functional, rho)
        assert (energy * weights).sum().item() == pytest.approx(expected, abs=1e-8)
    for options in ({"output": "lda_exchange", "ueg_exact": True}, {"inputs": "raw"}):
        net = build_network(family="mgga", zero_last=False, seed=0, **options)
        energy = assert_finite(NNMGGA(net), rho)
        assert energy.any()
        assert_finite(HybridXC("r2scan", net, 1.0), rho)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["native:lda", "native:pbe", "r2scan"])
def test_gpu(name, density):
    rho = density(100)
    net = build_network(family="mgga", zero_last=False, seed=0)
    xc = HybridXC(get_xc(name), net, 1.0, family="mgga")
    expected = xc(rho)
    on_gpu = xc.cuda()(rho.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), expected, rtol=1e-11, atol=1e-14)
