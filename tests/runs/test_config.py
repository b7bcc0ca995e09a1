"""Configurations: what is accepted, and that every mistake names file, field and remedy."""

import pytest
import yaml

from deepchem_dft.errors import InputError
from deepchem_dft.runs import load_config
from deepchem_dft.runs.config import config_hash, dump_yaml, validate

from .conftest import CONFIG


def changed(path: str, value: object) -> dict:
    """Return the tiny configuration with one dotted key set."""
    content = yaml.safe_load(yaml.safe_dump(CONFIG))
    *parents, last = path.split(".")
    node = content
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    node[last] = value
    return content


@pytest.mark.parametrize(
    "path, value, field, words",
    [
        ("trainig", {}, "trainig", "training"),
        ("data.trian", [], "data.trian", "train"),
        ("data.train.0.max_heavi", 2, "data.train.0.max_heavi", "max_heavy"),
        ("functional.network.hiden", [4], "functional.network.hiden", "hidden"),
        ("training.stages.0.epoch", 3, "training.stages.0.epoch", "epochs"),
        ("output.h2_curve.pionts", 3, "output.h2_curve.pionts", "points"),
        ("training.epochs", "many", "training.epochs", "many"),
        ("training.epochs", 0, "training.epochs", "0"),
        ("training.learning_rate", -1.0, "training.learning_rate", "-1"),
        ("training.loss", "l3", "training.loss", "l2"),
        ("training.type_weights", {"xx": 1.0}, "training.type_weights.xx", "ae"),
        ("training.stages.0.scf_every", 4, "training.stages.0", "no meaning"),
        ("functional.network.family", "gda", "functional.network.family", "gga"),
        ("functional.network.hidden", [0], "functional.network.hidden", "at least 1"),
        ("data.grid_level", 11, "data.grid_level", "9"),
        ("data.train", [], "data.train", "at least 1"),
        ("data.train.0.file", None, "data.train.0", "dataset"),
        ("data.test.0.types", ["aee"], "data.test.0.types.0", "ae"),
        ("name", "a/b", "name", "a/b"),
        ("functional.enhancement", {"degre": 3}, "functional.enhancement.degre", "degree"),
        ("functional.enhancement", {"degree": 13}, "functional.enhancement.degree", "12"),
        ("functional.enhancement", {"hidden": [0]}, "functional.enhancement.hidden", "at least 1"),
        ("functional.enhancement", {"bound": 1}, "functional.enhancement.bound", "1"),
        ("functional.enhancement", {}, "functional", "'network' has no meaning"),
        ("functional", {"enhancement": {}, "bweight0": 0.5}, "functional", "'bweight0'"),
        ("training.stages.1.optimizer", "lbfgs", "training.stages.1", "mode 'frozen'"),
        (
            "training.stages",
            [{"mode": "frozen", "epochs": 1, "optimizer": "lbfgs", "batch_size": 2}],
            "training.stages.0",
            "without batches",
        ),
        ("training.stages.0.optimizer", "lbfg", "training.stages.0.optimizer", "lbfgs"),
        ("training.penalties.rough", 1.0, "training.penalties.rough", "roughness"),
        ("training.penalties.size", -1.0, "training.penalties.size", "-1"),
        ("training.penalties", {"size": 1.0}, None, "enhancement"),
        ("cross_validation", {}, None, "data.valid"),
        ("cross_validation", {"folds": 1}, "cross_validation.folds", "2"),
        ("cross_validation", {"fold": 4}, "cross_validation.fold", "folds"),
    ],
)
def test_mistake_names_field_and_remedy(path, value, field, words):
    with pytest.raises(InputError) as caught:
        validate(changed(path, value), file="run.yaml")
    assert caught.value.field == field
    assert caught.value.file == "run.yaml"
    assert words in str(caught.value)


def test_missing_section():
    with pytest.raises(InputError, match="required") as caught:
        validate({"name": "x"})
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    "text, words", [(None, "no such file"), ("", "empty"), ("- 1\n", "a list"), ("a: [1\n", "line 2")]
)
def test_unreadable_file(tmp_path, text, words):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_config(path)
    assert caught.value.file == str(path)


def test_overrides(tiny):
    config = load_config(
        tiny, ["training.epochs=4", "training.stages.1.learning_rate=1e-4", "output.h2_curve=false"]
    )
    stages = config.training.resolved_stages()
    assert [(s.mode, s.epochs) for s in stages] == [("frozen", 4)]
    assert config.training.stages[1].learning_rate == 1e-4
    assert config.output.h2_curve is False


def test_override_creates_sections(tiny):
    assert load_config(tiny, ["training.type_weights.ie=3"]).training.type_weights == {"ie": 3.0}


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.epochs", "key=value"),
        ("training.stages.7.epochs=1", "0 to 1"),
        ("name.first=x", "single value"),
        ("training.epoks=1", "epochs"),
        ("training.epochs=[", "not valid YAML"),
    ],
)
def test_bad_override(tiny, override, words):
    with pytest.raises(InputError, match=words):
        load_config(tiny, [override])


def test_files_are_relative_to_the_configuration(tiny, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_config(tiny).data.train[0].file == str(tiny.parent / "data.yaml")


def test_dataset_shorthand():
    ref = validate({"data": {"train": ["w4-11:train", "x.yaml"]}}).data.train
    assert (ref[0].dataset, ref[0].split, ref[1].file) == ("w4-11", "train", "x.yaml")


def test_resolved_configuration_reads_back(tiny):
    config = load_config(tiny)
    assert validate(yaml.safe_load(dump_yaml(config))) == config


def test_an_enhancement_reads_back():
    content = {
        "data": {"train": ["w4-11"]},
        "cross_validation": {"folds": 3},
        "functional": {"xc": "r2scan", "enhancement": {"degree": 4}, "exchange": 0.2},
        "training": {
            "penalties": {"size": 0.1},
            "stages": [{"mode": "frozen", "epochs": 3, "optimizer": "lbfgs"}],
        },
    }
    config = validate(content)
    assert validate(yaml.safe_load(dump_yaml(config))) == config
    (stage,) = config.training.resolved_stages()
    assert (stage.optimizer, stage.batch_size, stage.learning_rate) == ("lbfgs", None, 1e-3)


def test_hash_ignores_what_cannot_change_results(tiny):
    base = config_hash(load_config(tiny))
    for same in ("name=other", "output.dir=elsewhere", "evaluation.processes=2", "baselines=[]"):
        assert config_hash(load_config(tiny, [same])) == base
    for other in ("training.seed=1", "data.basis=sto-3g", "evaluation.scf_tol=1e-7"):
        assert config_hash(load_config(tiny, [other])) != base


def test_stages_inherit_and_repeat():
    training = validate(
        changed(
            "training",
            {
                "learning_rate": 0.5,
                "validate_every": 7,
                "scf_every": 3,
                "batch_size": 2,
                "stages": [{"mode": "frozen", "epochs": 5, "repeat": 2}, {"epochs": 1}],
            },
        )
    ).training
    first, second, third = training.resolved_stages()
    assert first == second
    assert (first.learning_rate, first.validate_every, first.batch_size) == (0.5, 7, None)
    assert (third.mode, third.scf_every, third.batch_size) == ("scf", 3, 2)


@pytest.mark.parametrize("schedule, middle", [("constant", 1.0), ("cosine", 0.55)])
def test_schedule(schedule, middle):
    stage = validate(
        changed(
            "training", {"learning_rate": 1.0, "schedule": schedule, "final_learning_rate": 0.1, "epochs": 11}
        )
    ).training.resolved_stages()[0]
    assert stage.rate(1) == pytest.approx(1.0)
    assert stage.rate(6) == pytest.approx(middle)


def test_every_key_is_explained():
    from deepchem_dft.runs.reference import keys

    rows = {row[0]: row for row in keys()}
    assert all(row[3] for row in rows.values()), [k for k, row in rows.items() if not row[3]]
    for key in ("data.train.0.max_heavy", "training.stages.0.mode", "output.h2_curve.points"):
        assert key in rows
    assert rows["training.learning_rate"][2] == "0.001"


@pytest.mark.parametrize("functional", [{"enhancement": {}}, {"neighbours": {}}, {}])
def test_fines_are_for_functionals_with_factors(functional):
    data = {"data": {"train": ["w4-11"]}, "functional": functional}
    training = {"penalties": {"size": 1.0}, "stages": [{"mode": "frozen", "epochs": 1}]}
    if functional:
        stage = validate({**data, "training": training}).training.resolved_stages()[0]
        assert stage.size_penalty == 1.0
        return
    with pytest.raises(InputError, match="no meaning without"):
        validate({**data, "training": training})


def test_schedule_of_defaults_is_what_the_reference_says():
    """Defaults printed are those used."""
    from deepchem_dft.runs.reference import keys

    data = {"data": {"train": ["w4-11"]}}
    filled = {
        "functional": {"enhancement": {"range_separation": {}}, "dispersion": {}},
        "cross_validation": {},
    }
    used = validate({**data, **filled}).model_dump()
    neighbours = validate({**data, "functional": {"neighbours": {}}}).model_dump()  # not beside the other
    used["functional"]["neighbours"] = neighbours["functional"]["neighbours"]
    for key, _, default, _ in keys():
        if default and ".0." not in key and not key.startswith("output.h2_curve."):
            node = used
            for part in key.split("."):
                node = node[part]
            assert str(node).lower() == default.lower(), key
