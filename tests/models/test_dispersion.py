"""Damping parameters and enhancement factors trained: from a planted set back to it, and through files."""

import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_dft import zoo
from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.functional import conventional_parts
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc import EnhancedXC, HybridXC
from deepchem_dft.xc.dispersion import Dispersion, Nuclei
from deepchem_dft.xc.parents import hybrid_name

PLANTED = {"s8": 1.1, "a1": 0.36, "a2": 4.9}
# Six pairs in arrangements like those of the S22 set (Jurecka et al., Phys. Chem. Chem. Phys. 8, 1985
# (2006)); Angstrom.
WATER = [("O", (0, 0, 0)), ("H", (0.76, 0, 0.59)), ("H", (-0.76, 0, 0.59))]
AMMONIA = [("N", (0, 0, 0)), ("H", (0.94, 0, 0.38)), ("H", (-0.47, 0.81, 0.38)), ("H", (-0.47, -0.81, 0.38))]
METHANE = [
    ("C", (0, 0, 0)),
    ("H", (0.63, 0.63, 0.63)),
    ("H", (-0.63, -0.63, 0.63)),
    ("H", (0.63, -0.63, -0.63)),
    ("H", (-0.63, 0.63, -0.63)),
]
ETHENE = [
    ("C", (0, 0.67, 0)),
    ("C", (0, -0.67, 0)),
    *[("H", (x, y, 0)) for x in (0.92, -0.92) for y in (1.24, -1.24)],
]
DIMERS = {
    "water dimer": (WATER, WATER, (0.0, 0.3, -2.9)),
    "ammonia dimer": (AMMONIA, AMMONIA, (0.2, 0.0, -3.2)),
    "methane dimer": (METHANE, METHANE, (0.0, 0.0, 3.7)),
    "water and ammonia": (WATER, AMMONIA, (0.0, 0.4, -3.0)),
    "ethene and methane": (ETHENE, METHANE, (0.0, 0.0, 3.9)),
    "ethene dimer": (ETHENE, ETHENE, (0.0, 0.0, 3.8)),
}


def text(*molecules) -> str:
    places = []
    for atoms, shift in molecules:
        places += [f"{s} " + " ".join(f"{a + b:.3f}" for a, b in zip(x, shift)) for s, x in atoms]
    return "; ".join(places)


def entry_of(name: str, value: float) -> DFTEntry:
    first, second, shift = DIMERS[name]
    parts = ((first, (0, 0, 0)), (second, shift))
    geometries = [text(*parts), text(parts[0]), text(parts[1])]
    systems = [{"moldesc": g, "basis": "sto-3g", "unit": "angstrom"} for g in geometries]
    return DFTEntry.create("reaction", f"{value} Ha", systems, coefficients=[1, -1, -1], name=name)


def data(names, values) -> NumpyDataset:
    entries = [entry_of(name, value) for name, value in zip(names, values, strict=True)]
    return NumpyDataset(np.array(entries, dtype=object), np.array(values)[:, None])


def model_of(tmp_path, dispersion, **options) -> XCModel:
    network = {"hidden": [4], "output": "lda_exchange"}
    return XCModel(
        "pbe",
        network,
        train_a=False,
        train_b=False,
        dispersion=dispersion,
        loss_unit="kcal/mol",
        grid_level=0,
        seed=0,
        model_dir=str(tmp_path),
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["d3bj", "d4"])
def test_a_planted_optimum_is_found(tmp_path, kind):
    planted = model_of(tmp_path / "planted", {"model": kind, **PLANTED})
    values = planted.predict(data(DIMERS, [0.0] * len(DIMERS))).ravel()
    model = model_of(tmp_path / "fit", {"model": kind, "method": "pbe", "train": ["s8", "a1", "a2"]})
    for parameter in model.functional.nnxc.parameters():
        parameter.requires_grad_(False)
    model.fit(data(DIMERS, values), stages=[Stage(150, "frozen", optimizer="lbfgs")], processes=1)
    found = model.functional.dispersion.values
    assert model.history[-1].loss < 1e-11  # (kcal/mol)^2
    assert {name: found[name] for name in PLANTED} == pytest.approx(PLANTED, abs=2e-3)


def test_a_planted_optimum_is_found_from_dispersion_alone():
    """The same six, without the fields: the slopes lead there."""
    systems = [s.to_molecule(grid_level=0) for e in map(entry_of, DIMERS, [0.0] * 6) for s in e.get_systems()]
    nuclei = [Nuclei.of(m.pyscf_mol.atom_charges().tolist(), m.positions) for m in systems]
    combine = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64) * HARTREE_TO_KCAL
    with torch.no_grad():
        target = Dispersion("d3bj", **PLANTED).at(nuclei)().reshape(6, 3) @ combine
    term = Dispersion("d3bj", "pbe", train=list(PLANTED))
    energies, parameters = term.at(nuclei), [getattr(term, name) for name in PLANTED]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = (energies().reshape(6, 3) @ combine - target).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert {name: term.values[name] for name in PLANTED} == pytest.approx(PLANTED, abs=1e-4)


def test_the_dispersion_is_trained_beside_the_network(tmp_path):
    """One step through self-consistent fields, saved, and read again."""
    names = ["water dimer"]
    model = model_of(tmp_path, {"model": "d4", "train": ["s8", "a1"]}, learning_rate=0.01)
    assert isinstance(model.functional, HybridXC)
    before = {name: p.clone() for name, p in model.functional.named_parameters()}
    model.fit(data(names, [-0.02]), nb_epoch=1)
    moved = {n for n, p in model.functional.named_parameters() if not torch.equal(p, before[n])}
    assert {"dispersion.s8", "dispersion.a1"} <= moved and "dispersion.a2" not in moved
    assert any(name.startswith("nnxc") for name in moved)
    model.save_checkpoint()
    again = model_of(tmp_path, {"model": "d4", "train": ["s8", "a1"]})
    again.restore()
    assert again.functional.dispersion.values == model.functional.dispersion.values


def test_where_a_dispersion_is_named():
    """In xcstr or beside it, and always unscaled by b."""
    argon = [Nuclei.of([18, 18], [[0, 0, 0], [0, 0, 7]])]
    expected = Dispersion("d3bj", "pbe").energy(argon[0])
    network = {"hidden": [4]}
    for arguments in (
        {"xcstr": "pbe+d3bj", "nnmodel": network, "bweight0": 0.5},
        {"xcstr": "pbe", "nnmodel": network, "dispersion": "d3bj"},
        {"xcstr": "pbe", "nnmodel": {"form": "enhancement", **network}, "dispersion": {"model": "d3bj"}},
        {"xcstr": "pbe+d3bj", "nnmodel": {"form": "enhancement", **network}},
    ):
        functional = XCModel(**arguments, seed=0).functional
        assert torch.equal(functional.dispersion_at(argon)()[0], expected)
        assert "d3bj" in conventional_parts(functional)
    with pytest.raises(InputError, match="names a dispersion already"):
        XCModel("pbe+d3bj", network, dispersion="d4")
    with pytest.raises(InputError, match="no d3bj parameters for 'lda,pw'"):
        XCModel("lda,pw", network, dispersion="d3bj")


FORM = {"form": "enhancement", "hidden": [4]}
OPTIONS = {"grid_level": 0, "batch_size": 2, "seed": 0}


def test_starts_at_the_parent_with_its_share_of_exact_exchange(small):
    model = XCModel("pbe", FORM, exchange=0.25, **OPTIONS)
    parent = XCModel(hybrid_name("pbe", 0.25), {"hidden": [2]}, **OPTIONS)  # it returns zero
    np.testing.assert_allclose(model.predict(small), parent.predict(small), rtol=0, atol=1e-8)
    enhanced = model.functional.nnxc
    assert isinstance(enhanced, EnhancedXC) and enhanced.config["hidden"] == [4]
    trained = {n for n, p in model.functional.named_parameters() if p.requires_grad}
    assert trained == {f"nnxc.{n}" for n, _ in enhanced.named_parameters() if n != "share"}


@pytest.mark.parametrize("options", [{}, {"train_exchange": True}, {"degree": 2, "exchange": 0.1}])
def test_trains_and_reads_back(small, tmp_path, options):
    options = dict(options)
    form = {**FORM, **({"degree": options.pop("degree")} if "degree" in options else {})}
    model = XCModel("r2scan", form, learning_rate=0.01, model_dir=str(tmp_path), **OPTIONS, **options)
    before = model.predict(small)
    model.fit(small, nb_epoch=2)
    after = model.predict(small)
    assert abs(after - before).max() > 1e-5
    if options.get("train_exchange"):
        assert model.functional.nnxc.share.item() != 0.0
    model.save_checkpoint()
    again = XCModel.load(str(tmp_path))
    np.testing.assert_allclose(again.predict(small), after, rtol=0, atol=1e-8)
    zoo.save(model.functional, tmp_path / "mine.safetensors")
    fresh = XCModel("r2scan", form, **OPTIONS, **options)
    fresh.load_from_pretrained(str(tmp_path / "mine.safetensors"))
    for name, value in model.functional.state_dict().items():
        assert torch.equal(fresh.functional.state_dict()[name], value)


@pytest.mark.parametrize("xcstr, form", [("tpss", FORM), ("r2scan", {**FORM, "bound": 3.0})])
def test_a_checkpoint_of_another_parent_or_bound_is_refused(tmp_path, xcstr, form):
    """The weights would fit, and mean something else."""
    XCModel("r2scan", FORM, model_dir=str(tmp_path), **OPTIONS).save_checkpoint()
    with pytest.raises(CheckpointError, match="r2scan"):
        XCModel(xcstr, form, model_dir=str(tmp_path), **OPTIONS).restore()


@pytest.mark.parametrize(
    "xcstr, form, field",
    [
        ("b3lyp", FORM, "parent"),
        ("none", FORM, "parent"),
        ("pbe", {**FORM, "degree": 0}, "degree"),
        ("pbe", {**FORM, "hidden": 4}, "hidden"),
    ],
)
def test_what_cannot_be_made_names_its_field(xcstr, form, field):
    with pytest.raises(FunctionalError) as caught:
        XCModel(xcstr, form, **OPTIONS)
    assert caught.value.field == field
