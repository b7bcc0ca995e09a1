"""Whatever can be written as data comes back as the same functional."""

import json

import pytest
import torch
from torch import nn

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.xc import NNLDA, NNMGGA, NNPBE, EnhancedXC, HybridXC, Libxc, build_network, deepchem_network
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion import Dispersion, Nuclei
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.nonlocality.network import NNNonlocal
from deepchem_dft.zoo.forms import CONFIGURED, build_form, form_of

from .conftest import hybrid, network

FUNCTIONALS = {
    "libxc": lambda: Libxc("0.3*hf+0.7*b88,lyp"),
    "range separated": lambda: Libxc("camb3lyp"),
    "native": lambda: get_xc("native:pbe"),
    "raw lda": lambda: NNLDA(deepchem_network(2, 5, 2, modeltype=2), spin_symmetric=False),
    "sequential": lambda: NNPBE(nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1))),
    "float32": lambda: NNMGGA(network(3, "mgga", dtype="float32", ueg_exact=True)),
    "hybrid": hybrid,
    "own exchange": lambda: hybrid(train_exchange=True),
    "network alone": lambda: HybridXC(None, network(2, "lda", output="raw"), aweight0=1.0),
    "nested": lambda: HybridXC("pbe0", hybrid(4), aweight0=0.5, bweight0=0.5),
    "ensemble": lambda: EnsembleXC([hybrid(1), "camb3lyp", NNMGGA(network(5, "mgga"))], 1.7),
    "enhanced": lambda: enhanced("r2scan"),
    "enhanced local": lambda: enhanced("lda", dtype="float32"),
    "enhanced hybrid": lambda: enhanced("pbe", exchange=0.25, bound=3.0, ueg_exact=False),
    "enhanced, own exchange": lambda: HybridXC(
        None, enhanced("pbe", train_exchange=True), aweight0=1.0, train_a=False
    ),
    "enhanced, linear": lambda: enhanced("r2scan", degree=2),
    "with dispersion": lambda: dispersed(Libxc("pbe")),
    "learned dispersion": lambda: dispersed(hybrid(), train=["s8", "a2"]),
    "ensemble of enhanced": lambda: EnsembleXC([enhanced("r2scan"), enhanced("pbe", degree=3)]),
}


def enhanced(parent: str, **options) -> EnhancedXC:
    """Return one whose factors and share of exact exchange, where trained, are random."""
    xc = EnhancedXC(parent, **{"hidden": [4], "seed": 1, **options})
    with torch.no_grad():
        for p in xc.parameters():
            if p.requires_grad:
                p += 0.3 * torch.rand_like(p)
    return xc


def dispersed(functional: XCFunctional, **options) -> XCFunctional:
    """Return the functional with a dispersion of parameters that nobody has published."""
    functional.dispersion = Dispersion("d4", s6=0.9, s8=1.3, s9=0.7, a1=0.31, a2=3.9, **options)
    return functional


def density(points: int = 30) -> torch.Tensor:
    """Return densities with gradients and a tau above its lower bound."""
    generator = torch.Generator().manual_seed(1)
    rho = torch.rand(2, 5, points, generator=generator, dtype=torch.float64)
    rho[:, 4] += (rho[:, 1:4] ** 2).sum(1) / (8 * rho[:, 0])
    return rho


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_round_trip_through_json(name):
    before = FUNCTIONALS[name]()
    form = json.loads(json.dumps(form_of(before)))
    after = build_form(form)
    assert type(after) is type(before) and form_of(after) == form
    after.load_state_dict(before.state_dict())
    rho = density()
    assert torch.equal(before(rho), after(rho))
    assert [p.requires_grad for p in before.parameters()] == [p.requires_grad for p in after.parameters()]
    with torch.no_grad():
        own, other = ([(float(c), w) for c, w in xc.exchange_terms] for xc in (before, after))
    assert own == other
    assert (before.family, before.spin_symmetric) == (after.family, after.spin_symmetric)
    argon = [Nuclei.of([18, 18], [[0, 0, 0], [0, 0, 7]])]
    assert torch.equal(before.dispersion_at(argon)(), after.dispersion_at(argon)())
    assert bool(before.dispersion_at(argon)().any()) == ("dispersion" in name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Libxc("wb97x-v", vv10_level=2, train_vv10=True),
        lambda: HybridXC("r2scan-rvv10", enhanced("pbe")),
        lambda: NNNonlocal("pbe", hidden=[4], channels=2, radial=2, layers=2, exchange=0.1, zero_last=False),
    ],
)
def test_functionals_that_see_more_than_points(make):
    before = make()
    form = json.loads(json.dumps(form_of(before)))
    after = build_form(form)
    assert form_of(after) == form
    after.load_state_dict(before.state_dict())
    pairs = list(zip(before.named_parameters(), after.named_parameters(), strict=True))
    assert all(
        a == b and torch.equal(p, q) and p.requires_grad == q.requires_grad for (a, p), (b, q) in pairs
    )
    terms = [[(t.grid_level, str(t)) for t in xc.nonlocal_terms] for xc in (before, after)]
    assert terms[0] == terms[1]


def test_ensembles_from_before_calibration_are_uncalibrated():
    form = form_of(EnsembleXC(["pbe", "blyp"], 1.7, 0.002))
    same = build_form(form)
    assert (same.calibration, same.floor) == (1.7, 0.002)
    assert (form.pop("calibration"), form.pop("floor")) == (1.7, 0.002)
    assert (build_form(form).calibration, build_form(form).floor) == (1.0, 0.0)
    assert "by_kind" not in form  # files without are as they were
    kinds = {"BH": (1.5, 0.002), "NC": (3.0, 0.0)}
    assert build_form(form_of(EnsembleXC(["pbe", "blyp"], 1.7, 0.002, kinds))).by_kind == kinds
    with pytest.raises(InputError, match="by_kind"):
        build_form({**form, "by_kind": [1.0, 2.0]})


def test_what_a_form_of_a_hybrid_leaves_out_is_trained():
    form = {"type": "hybrid", "conventional": {"type": "libxc", "name": "pbe"}, "learned": NET}
    neural = {"type": "neural", "family": "gga", "network": NET}
    xc = build_form({**form, "learned": neural})
    assert xc.aweight.requires_grad and xc.bweight.requires_grad and xc.exchange is None
    own = build_form({**form, "learned": neural, "own_exchange": True})
    assert own.exchange is not None and not own.exchange.requires_grad
    assert xc.spin_symmetric and not build_form({**neural, "spin_symmetric": False}).spin_symmetric
    layer = {"type": "linear", "inputs": 2, "outputs": 1}
    assert build_form(layer).bias is not None and build_form(layer).weight.dtype == torch.float64


def test_every_registered_network_is_rebuilt():
    assert {known for known, _ in CONFIGURED.values()} == {type(build_network()), EnhancedXC, NNNonlocal}


class Mine(nn.Module):
    """A network whose code is the user's."""

    def forward(self, x):
        return x[:, :1]


class Special(Libxc):
    """Looks like a conventional functional, and may be anything."""


@pytest.mark.parametrize(
    "part",
    [
        lambda: NNLDA(Mine()),
        lambda: Special("pbe"),
        lambda: NNLDA(nn.Sequential(nn.Linear(2, 1), nn.ELU(alpha=0.5))),
        lambda: NNLDA(nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.1), nn.Linear(4, 1))),
    ],
)
def test_what_would_not_come_back_the_same_is_refused(part):
    with pytest.raises(FunctionalError, match="cannot be written down as data"):
        form_of(part())


NET = form_of(network())


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ("pbe", "form"),
        ({"type": "os.system", "command": "true"}, "form"),
        ({"type": ["libxc"]}, "form"),
        ({"type": "libxc", "name": "no-such-thing"}, "xc"),
        ({"type": "libxc", "name": "pbe", "more": 1}, "form"),
        ({"type": "native", "name": "__class__"}, "form"),
        ({"type": "activation", "name": "Module"}, "form"),
        ({"type": "linear", "inputs": 10**9, "outputs": 10**9}, "form"),
        ({"type": "linear", "inputs": -1, "outputs": 1}, "form"),
        ({"type": "neural", "family": "xyz", "network": NET}, "form"),
        ({"type": "neural", "family": "gga", "network": {"type": "neural"}}, "form.network"),
        ({"type": "neural", "family": "lda", "network": NET}, "nnmodel"),
        ({"type": "hybrid", "conventional": None, "learned": {**NET, "hidden": "8"}}, "hidden"),
        ({"type": "ensemble", "members": [{"type": "libxc", "name": "pbe"}]}, "members"),
        ({"type": "ensemble", "members": 3}, "form"),
        (
            {"type": "ensemble", "calibration": 0, "members": [{"type": "libxc", "name": "pbe"}] * 2},
            "calibration",
        ),
        (
            {"type": "ensemble", "calibration": "1", "members": [{"type": "libxc", "name": "pbe"}] * 2},
            "calibration",
        ),
        ({"type": "sequential", "layers": [{"type": "eval"}]}, "form.layers[0]"),
        ({"type": "enhanced", "parent": "b3lyp"}, "parent"),
        ({"type": "enhanced"}, "form"),
        ({"type": "enhanced", "parent": "pbe", "code": "1"}, "form"),
        ({"type": "enhanced", "parent": "pbe", "degree": 10**4}, "form"),
        ({"type": "enhanced", "parent": "pbe", "degree": 100}, "degree"),
        ({"type": "enhanced", "parent": "pbe", "hidden": [10**9]}, "form"),
        ({"type": "enhanced", "parent": "pbe", "hidden": None}, "hidden"),
        ({"type": "enhanced", "parent": "pbe", "bound": "1"}, "bound"),
        ({"type": "enhanced", "parent": "pbe", "exchange": 2}, "exchange"),
    ],
)
def test_bad_forms_are_refused_where_they_are_bad(form, field):
    with pytest.raises(InputError) as caught:
        build_form(form)
    assert caught.value.field == field
    assert len(str(caught.value)) < 500


def test_a_new_kind_of_functional_joins_by_one_line(monkeypatch):
    class Scaled(XCFunctional):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.config = {"factor": factor}
            self.weight = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

        def energy_density(self, rho):
            return self.weight * rho[:, 0].sum(0)

    monkeypatch.setitem(CONFIGURED, "scaled", (Scaled, Scaled))
    form = form_of(HybridXC("pbe", Scaled(0.5), aweight0=1.0))
    assert form["learned"] == {"type": "scaled", "factor": 0.5}
    assert isinstance(build_form(form).nnxc, Scaled)
