"""The checker passes functionals that keep the contract, and each planted fault fails the check for it."""

import pytest
import torch
from torch import nn

from deepchem_dft import zoo
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.scf.conformance import Check, Report
from deepchem_dft.scf.conformance.checker import NAMES
from deepchem_dft.xc import EnhancedXC, EnsembleXC, HybridXC, SlaterPW92, XCFunctional, check
from deepchem_dft.xc.nonlocality.network import NNNonlocal
from tests.xc.toy import GatherXC

LOCAL = [name for name in zoo.names() if zoo.card(name).kind == "functional"]
QUICK = [name for name in NAMES if name not in ("smoothness", "self-consistency")]


class Skewed(SlaterPW92):
    """Alpha electrons are worth more than beta electrons."""

    def energy_density(self, rho):
        bias = rho[0, 0] - rho[-1, 0] if len(rho) == 2 else 0.0
        return super().energy_density(rho) * (1.0 + 0.01 * bias)

    uniform_gas = False


class Sideways(XCFunctional):
    """Only the slope along x counts."""

    family = "gga"

    def energy_density(self, rho):
        slope = rho[:, 1].sum(0).square()
        return SlaterPW92().energy_density(rho) - 0.01 * slope / (1.0 + slope)


class Anchored(GatherXC):
    """Sees absolute coordinates."""

    def energy(self, rho, quadrature):
        here = torch.exp(-0.1 * quadrature.points.square().sum(1))
        return super().energy(rho, quadrature) + 0.01 * (rho[:, 0].sum(0) * quadrature.weights * here).sum()


class FirstAtom(GatherXC):
    """The atom that comes first is special."""

    def energy(self, rho, quadrature):
        own = (quadrature.atoms == 0).to(rho)
        return super().energy(rho, quadrature) + 0.01 * (rho[:, 0].sum(0) * quadrature.weights * own).sum()


class FirstPoint(GatherXC):
    """Neighbours in order are taken for neighbours in space."""

    def energy(self, rho, quadrature):
        n = rho[:, 0].sum(0) * quadrature.weights
        return super().energy(rho, quadrature) + 0.01 * (n[1:] * n[:-1]).sum()


class Cut(GatherXC):
    """Pairs of atoms beyond five Bohr are left out at once."""

    def energy(self, rho, quadrature):
        n = rho[:, 0].sum(0) * quadrature.weights
        charges = n.new_zeros(len(quadrature.positions)).index_add(0, quadrature.atoms, n)
        apart = (quadrature.positions[:, None] - quadrature.positions).square().sum(-1)
        near = (apart < 25.0).to(n)
        return super().energy(rho, quadrature) + 1e-4 * charges @ near @ charges


class Threshold(SlaterPW92):
    """Dense places are treated in another way."""

    uniform_gas = False

    def energy_density(self, rho):
        return super().energy_density(rho) * torch.where(rho[:, 0].sum(0) > 0.05, 1.01, 1.0)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, n):
        ctx.save_for_backward(n)
        return -0.7 * n**2

    @staticmethod
    def backward(ctx, weight):
        return -1.41 * ctx.saved_tensors[0] * weight  # by hand, and wrong


class WrongSlope(XCFunctional):
    def energy_density(self, rho):
        return _Rounded.apply(rho[:, 0].sum(0))


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, n):
        ctx.save_for_backward(n)
        return -0.7 * n**2

    @staticmethod
    def backward(ctx, weight):
        return -1.4 * ctx.saved_tensors[0].detach() * weight


class OnceOnly(XCFunctional):
    """The first derivative is right, and has none of its own."""

    def energy_density(self, rho):
        return _Once.apply(rho[:, 0].sum(0))


class Everywhere(SlaterPW92):
    """There is energy where there is no density."""

    uniform_gas = False

    def energy_density(self, rho):
        return super().energy_density(rho) - 1e-6 * torch.exp(-rho[:, 0].sum(0))


class Whole(GatherXC):
    """The charge of everything at once."""

    def energy(self, rho, quadrature):
        return super().energy(rho, quadrature) - 1e-3 * (rho[:, 0].sum(0) * quadrature.weights).sum() ** 2


class Captured(GatherXC):
    """A parameter that is used without its gradient."""

    def energy(self, rho, quadrature):
        return super().energy(rho, quadrature) * (self.strength.detach() / self.strength) ** 0.5


class Stranger(GatherXC):
    """A weight that nobody is told of."""

    def __init__(self):
        super().__init__()
        self.hidden = [torch.tensor(1.0, dtype=torch.float64, requires_grad=True)]

    def energy(self, rho, quadrature):
        return self.hidden[0] * super().energy(rho, quadrature)


class Nailed(GatherXC):
    """Forces would miss that the nuclei move."""

    def energy(self, rho, quadrature):
        return super().energy(rho, quadrature.detached())


class Generous(SlaterPW92):
    """Promises the uniform gas and does not keep it."""

    def energy_density(self, rho):
        return 1.001 * super().energy_density(rho)


class Divided(GatherXC):
    """Atoms do see each other here."""

    def pieces(self, quadrature):
        return [(quadrature.atoms == atom).nonzero()[:, 0] for atom in range(len(quadrature.numbers))]


class Noisy(GatherXC):
    def energy(self, rho, quadrature):
        return super().energy(rho, quadrature) * (1.0 + 1e-6 * torch.rand(()).double())


class Broad(SlaterPW92):
    def energy_density(self, rho):
        return super().energy_density(rho)[None]


class Raising(XCFunctional):
    def energy_density(self, rho):
        raise ValueError("not today")


FAULTS = {
    Skewed: {"spin symmetry"},
    Sideways: {"rotation"},
    Anchored: {"translation"},
    FirstAtom: {"order of atoms", "size consistency"},
    FirstPoint: {"order of points"},
    Cut: {"smoothness"},
    Threshold: {"smoothness"},
    WrongSlope: {"first derivative"},
    OnceOnly: {"second derivative"},
    Everywhere: {"vanishing density"},
    Whole: {"size consistency"},
    Captured: {"parameters"},
    Stranger: {"parameters"},
    Nailed: {"geometry"},
    Generous: {"uniform gas"},
    Divided: {"groups of points"},
    Noisy: {"repetition"},
    Broad: {"form"},
}
#: What a fault leads to as well, or may.
CONSEQUENCES = {
    Noisy: set(NAMES),
    WrongSlope: {"self-consistency", "second derivative"},
    Threshold: {"first derivative", "second derivative", "self-consistency"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_the_check_for_it(fault):
    asked = [*QUICK, "smoothness"] if "smoothness" in FAULTS[fault] else QUICK
    report = check(fault(), only=asked)
    failed = {c.name for c in report.failed}
    assert FAULTS[fault] <= failed, report
    assert failed <= FAULTS[fault] | CONSEQUENCES.get(fault, set()), report


def test_a_functional_of_the_quadrature_passes():
    report = check(HybridXC("pbe", GatherXC(level=1), aweight0=0.5))
    assert report.passed, report
    assert report["geometry"].value is not None and report["parameters"].value is not None
    assert report["uniform gas"].value is None


@pytest.mark.parametrize("name", ["native:pbe", "lda,pw", "r2scan", "b3lyp", "camb3lyp"])
def test_conventional_functionals_pass(name):
    report = check(name, only=QUICK)
    assert report.passed, report


@pytest.mark.parametrize("kind", ["uniform", "ityh"])
def test_two_ranges_keep_the_gas_together(kind):
    """What is left of semilocal exchange, and exact exchange of both ranges, which a uniform gas has too."""
    options = {"omega": 0.3, "long_exchange": 0.9, "attenuation": kind}
    xc = EnhancedXC("r2scan", hidden=[6], exchange=0.15, range_separation=options, zero_last=False, seed=1)
    assert check(xc, only=["uniform gas"])["uniform gas"].passed


@pytest.mark.parametrize("parent", ["pbe", "revpbe", "tpss", "r2scan"])
def test_enhanced_functionals_keep_the_gas_they_promise(parent):
    for exchange in (0.0, 0.3):
        xc = HybridXC(
            None, EnhancedXC(parent, hidden=[6], exchange=exchange, zero_last=False, seed=1), aweight0=1.0
        )
        gas = check(xc, only=["uniform gas"])["uniform gas"]
        assert gas.passed and gas.value is not None
        with torch.no_grad():
            xc.aweight.fill_(1.1)  # promised no more
        assert check(xc, only=["uniform gas"])["uniform gas"].value is None
    assert not EnhancedXC("blyp").uniform_gas
    assert not EnhancedXC(parent, ueg_exact=False).uniform_gas
    both = EnsembleXC([EnhancedXC(parent, seed=1), EnhancedXC(parent, seed=2)])
    assert both.uniform_gas and not EnsembleXC([both, "b3lyp"]).uniform_gas


@pytest.mark.parametrize("name", [n for n in LOCAL if "ensemble" not in n])  # one of its members is there
def test_functionals_of_the_zoo_pass(name):
    functional = zoo.load(name)
    report = check(functional, only=[n for n in QUICK if n != "parameters"])
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL)
def test_functionals_of_the_zoo_pass_everything(name):
    functional = zoo.load(name)
    for parameter in functional.parameters():
        parameter.requires_grad_(True)
    report = check(functional)
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wb97m-v", "scan-rvv10", "network"])
def test_nonlocal_functionals_pass_everything(name):
    xc = name if name != "network" else HybridXC(None, disturbed(NNNonlocal("pbe", seed=1)), aweight0=1.0)
    report = check(xc)
    assert report.passed, report
    assert report["geometry"].value is not None


def disturbed(network):
    """Move all weights, since a network that starts at its parent hides its mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p += 0.05 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return network


def test_modes_and_parameters_are_left_as_they_were():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    xc = HybridXC("pbe", net, aweight0=0.3)
    before = {name: p.clone() for name, p in xc.named_parameters()}
    report = check(xc, only=["repetition", "parameters"])
    assert report.passed, report
    assert net.training and all(torch.equal(p, before[name]) for name, p in xc.named_parameters())


def test_reports_are_read_and_raised():
    report = Report("mine", [Check("rotation", 1e-3, 1e-9, "Ha", "turned"), Check("form", None, 0.0, "")])
    assert not report.passed and "FAILED" in str(report) and "not asked" in str(report)
    with pytest.raises(FunctionalError, match="rotation"):
        report.raise_for_failures()
    with pytest.raises(FunctionalError, match="translation"):
        check(Anchored(), only=["translation"], raise_on_failure=True)
    with pytest.raises(InputError, match="unknown check 'taste'"):
        check("pbe", only=["taste"])
    assert "ValueError: not today" in str(check(Raising(), only=["rotation"]))
