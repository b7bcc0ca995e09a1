"""Enhanced parents in XCModel: made from a mapping, trained, written and read back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepchem_dft import zoo
from deepchem_dft.errors import CheckpointError, FunctionalError
from deepchem_dft.models import XCModel
from deepchem_dft.xc import EnhancedXC
from deepchem_dft.xc.parents import hybrid_name

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
