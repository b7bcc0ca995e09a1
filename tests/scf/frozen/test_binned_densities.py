"""Binned densities give the energies of the full ones, and their gradients."""

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, SCFLayer
from deepchem_dft.scf.frozen.binned import BinnedDensities, BinnedDensity, _Points, bin_density
from deepchem_dft.xc import HybridXC, Libxc, build_network
from deepchem_dft.xc.binning import Histogram
from tests.xc.toy import GatherXC

CASES = [("O 0 0 0; H 0 1.43 -0.98; H 0 -1.43 -0.98", 0), ("O 0 0 0", 2)]


def functional(xc: str, family: str, seed: int = 0, **options) -> HybridXC:
    network = build_network(
        family=family, hidden=(16, 16), output="lda_exchange", zero_last=False, max_output=0.3, seed=seed
    )
    return HybridXC(xc, network, aweight0=0.7, bweight0=0.9, family=family, **options)


@pytest.fixture(scope="module", params=CASES, ids=["H2O", "O"])
def solved(request):
    molecule = Molecule(request.param[0], "sto-3g", spin=request.param[1], grid_level=1)
    return molecule, KohnSham(molecule, "pbe").run()


@pytest.mark.parametrize("xc", ["pbe", "pbe0", "none"])
@pytest.mark.parametrize("family", ["lda", "gga", "mgga"])
def test_energy_and_gradient_match_full_grid(solved, xc, family):
    molecule, result = solved
    xc_of = functional(xc, family, exchange=0.1 if xc == "pbe" else None)
    frozen = SCFLayer(xc_of).frozen_density(molecule, result.state)
    batch = BinnedDensities([bin_density(frozen, xc_of)])
    parameters = [p for p in xc_of.parameters() if p.requires_grad]

    full = frozen.energy(xc_of)
    expected = torch.autograd.grad(full, parameters, allow_unused=True)
    few = batch.energies(xc_of)[0]
    found = torch.autograd.grad(few, parameters, allow_unused=True)

    learned = float(full.detach()) - float(without_network(frozen, xc_of))
    assert abs(float(few.detach() - full.detach())) < 2e-4 * max(abs(learned), 1e-3)
    for a, b in zip(expected, found):
        assert (a is None) == (b is None)
        if a is not None:
            scale = max(float(a.abs().max()), 1e-2)
            assert float((a - b).abs().max()) < 3e-3 * scale
    assert batch.size < 0.5 * len(frozen.weights)


def without_network(frozen, xc_of) -> float:
    with torch.no_grad():
        weight = xc_of.aweight.clone()
        xc_of.aweight.zero_()
        energy = frozen.energy(xc_of)
        xc_of.aweight.copy_(weight)
    return float(energy)


def test_all_but_the_network_is_exact(solved):
    molecule, result = solved
    plain = HybridXC("pbe", build_network(family="gga", seed=0), aweight0=1.0)
    frozen = SCFLayer(plain).frozen_density(molecule, result.state)
    energy = BinnedDensities([bin_density(frozen, plain)]).energies(plain)
    assert float(energy.detach()) == pytest.approx(float(result.energy.detach()), abs=1e-10)


def test_file_round_trip(solved, tmp_path):
    molecule, result = solved
    xc_of = functional("camb3lyp", "gga")
    frozen = SCFLayer(xc_of).frozen_density(molecule, result.state)
    before = bin_density(frozen, xc_of)
    before.save(tmp_path / "d.pt")
    after = BinnedDensity.load(tmp_path / "d.pt")
    assert after.omegas == before.omegas and None in after.omegas
    energies = [BinnedDensities([d]).energies(xc_of) for d in (before, after)]
    assert torch.equal(*energies)


def test_finer_bins_are_closer(solved):
    """The error has to come from the bins' width and from nothing else."""
    molecule, result = solved
    xc_of = functional("pbe", "mgga")
    frozen = SCFLayer(xc_of).frozen_density(molecule, result.state)
    with torch.no_grad():
        exact = (xc_of.nnxc.energy_density(frozen.rho) * frozen.weights).sum()
        errors = []
        for width in (0.4, 0.1, 0.0001):
            few = xc_of.nnxc.histograms(frozen.rho, frozen.weights, [width] * 4)["density"]
            found = xc_of.nnxc.on_histogram("density", few.points) * few.weights
            errors.append(abs(float(found.sum() - exact)))
    assert errors[2] < 1e-8 < errors[0]
    assert errors[1] < errors[0]


def test_batch_of_several_systems(solved):
    molecule, result = solved
    xc_of = functional("pbe", "mgga")
    one = bin_density(SCFLayer(xc_of).frozen_density(molecule, result.state), xc_of)
    atom = Molecule("He 0 0 0", "sto-3g", grid_level=1)
    layer = SCFLayer(xc_of)
    other = bin_density(layer.frozen_density(atom, KohnSham(atom, "pbe").run().state), xc_of)
    together = BinnedDensities([one, other, one]).energies(xc_of)
    alone = [BinnedDensities([d]).energies(xc_of)[0] for d in (one, other, one)]
    assert torch.allclose(together, torch.stack(alone), rtol=0, atol=1e-12)


class Constant(GatherXC):
    """A conventional nonlocal part: nothing about it changes."""

    constant = True

    def __init__(self, level):
        super().__init__(level=level)
        self.requires_grad_(False)


class WithTerm(Libxc):
    """A functional of libxc with a nonlocal term on a grid of its own, as VV10 is."""

    def __init__(self, name, term):
        super().__init__(name)
        self.term, self.constant = term, term.constant

    @property
    def nonlocal_terms(self):
        return [self.term] if "term" in self._modules else []  # it is asked while it is made


NONLOCAL = {
    "learned": lambda: HybridXC("pbe", GatherXC(), aweight0=0.7, bweight0=0.9),
    "learned, on its own grid": lambda: HybridXC("pbe", GatherXC(level=0), aweight0=0.7, bweight0=0.9),
    "conventional": lambda: with_term(Constant(0)),
    "conventional, to be fitted": lambda: with_term(GatherXC(level=0)),
}


def with_term(term):
    xc = functional("pbe", "mgga")
    return HybridXC(WithTerm("pbe", term), xc.nnxc, aweight0=0.7, bweight0=0.9)


@pytest.mark.parametrize("kind", NONLOCAL)
def test_nonlocal_parts_are_kept_whole(solved, kind, tmp_path):
    molecule, result = solved
    xc_of = NONLOCAL[kind]()
    frozen = SCFLayer(xc_of).frozen_density(molecule, result.state)
    one = bin_density(frozen, xc_of)
    assert (one.whole is None) == (kind == "conventional")
    one.save(tmp_path / "density.pt")
    batch = BinnedDensities([one, BinnedDensity.load(tmp_path / "density.pt")])
    parameters = [p for p in xc_of.parameters() if p.requires_grad]
    for _ in range(2):  # what is prepared must follow the parameters
        expected, found = frozen.energy(xc_of), batch.energies(xc_of)
        merged = 0.0 if kind.startswith("learned") else 2e-4
        assert found.tolist() == pytest.approx([expected.item()] * 2, abs=1e-10 + merged)
        slopes = torch.autograd.grad(expected, parameters), torch.autograd.grad(found[1], parameters)
        for a, b in zip(*slopes, strict=True):
            scale = max(float(a.abs().max()), 1e-2)
            assert float((a - b).abs().max()) < (1e-9 + 30 * merged) * scale
        with torch.no_grad():
            for p in parameters:
                p *= 1.05
    if kind == "learned, on its own grid":  # nothing of the molecule's grid is kept
        assert one.whole.rho.shape == (len(frozen.rho), 4, molecule.grid_at(0).size)


def test_points_of_several_systems_are_counted_once():
    """Sums, and their slopes, are those of every system alone; equal points of systems are one."""
    draw = torch.Generator().manual_seed(1)
    nodes = torch.tensor([[0.1, 0.1, 0.4], [0.2, 0.3, 0.2]], dtype=torch.float64)
    chosen = [torch.tensor([0, 2]), torch.tensor([2, 1, 0]), torch.tensor([1])]
    histograms = [
        Histogram(nodes[:, i], torch.rand(len(i), generator=draw, dtype=torch.float64)) for i in chosen
    ]
    points = _Points(histograms)
    assert sorted(points.points.T.tolist()) == sorted(nodes.T.tolist())
    x = torch.rand(3, generator=draw, dtype=torch.float64, requires_grad=True)
    at_nodes = {tuple(p): v for p, v in zip(points.points.T.tolist(), x)}
    expected = torch.stack(
        [sum(w * at_nodes[tuple(p)] for p, w in zip(h.points.T.tolist(), h.weights)) for h in histograms]
    )
    torch.testing.assert_close(points.integrals(x), expected)
    slopes = torch.rand(3, generator=draw, dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad(y, x, slopes, retain_graph=True)[0] for y in (points.integrals(x), expected)
    )
    torch.testing.assert_close(found, wanted)
