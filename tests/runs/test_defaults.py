"""What is left out of a configuration is what is left out in Python, for every key of every kind of run."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from deepchem.models.torch_models.torch_model import TorchModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deepchem_dft.fitting.model import Fitting
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.models import DEQModel, HamiltonianLoss, HamiltonianModel, KSRModel, KSRStage, XCModel
from deepchem_dft.models.hamiltonian.options import NetworkOptions, SearchOptions, StepOptions
from deepchem_dft.models.xc import Stage
from deepchem_dft.models.xc.options import SystemOptions
from deepchem_dft.molnet import load_atomic_ip, load_nci
from deepchem_dft.runs.hamiltonian.evaluation import evaluate_hamiltonian_set
from deepchem_dft.runs.hamiltonian.making import SamplingRecipe
from deepchem_dft.runs.kinds import KINDS
from deepchem_dft.runs.section import Section
from deepchem_dft.scf.many import Solver
from deepchem_dft.xc import EnhancedXC, NNNonlocal, build_network
from deepchem_dft.xc.dispersion import Dispersion
from deepchem_dft.xc.ranges import RangeSeparation

MODELS = {"xc": XCModel, "ksr": KSRModel, "hamiltonian": HamiltonianModel, "deq": DEQModel}
#: Stands for the ``fit`` that all models share, with the defaults of the model.
FIT = "fit"

#: By kind: what takes the keys of a section in Python (the first that has an argument of the name).
TAKEN: dict[str, dict[str, list[Any]]] = {
    "xc": {
        "data": [SystemOptions, load_atomic_ip],
        "functional": [XCModel],
        "functional.network": [XCModel, build_network],
        "functional.enhancement": [EnhancedXC],
        "functional.enhancement.range_separation": [RangeSeparation],
        "functional.dispersion": [Dispersion],
        "functional.neighbours": [NNNonlocal],
        "training": [FIT, Stage, SystemOptions, XCModel],
        "training.penalties": [Stage],
        "training.stages": [Stage],
        "evaluation": [Solver, SystemOptions],
        "output": [FIT],
    },
    "ksr": {
        "data.grid": [Grid],
        "functional": [KSRModel],
        "trajectory": [KSRModel],
        "training": [KSRModel, FIT, KSRModel.fit],
        "training.stages": [KSRStage],
        "evaluation": [KSRModel],
        "output": [FIT],
    },
    "hamiltonian": {
        "data.recipes": [SamplingRecipe],
        "network": [HamiltonianModel, NetworkOptions, SearchOptions],
        "training": [HamiltonianModel, HamiltonianLoss, StepOptions, FIT],
        "evaluation": [evaluate_hamiltonian_set],
        "output": [FIT],
    },
    "deq": {"data": [load_nci], "network": [DEQModel], "training": [DEQModel, FIT], "output": [FIT]},
}

#: Keys whose argument has another name.
NAMES = {
    "epochs": "nb_epoch",
    "select_best": "restore_best",
    "gradient_clip": "max_grad_norm",
    "scf_tol": "tol",
    "size": "size_penalty",
    "roughness": "roughness_penalty",
    "kind": "functional",
    "tasks": "task",
    "xc": "xcstr",
}

#: Keys of what only a run has: names, files and folders, choices of data, tables and figures,
#: processes; shifted targets; and weight_decay, which in Python is an optimiser.
OF_RUNS = {
    "xc": "data.train data.valid data.test data.prepared data.only_prepared training.weight_decay "
    "training.stages.repeat "
    "training.threads training.target training.published training.largest_shift training.first_densities "
    "baselines cross_validation evaluation.sets evaluation.baseline_sets evaluation.fixed_densities "
    "evaluation.published output.h2_curve",
    "ksr": "data.train data.valid data.test evaluation.sets evaluation.baseline",
    "hamiltonian": "data.recipes.file data.recipes.input data.train data.valid data.test evaluation.sets",
    "deq": "data.source data.path data.limit evaluation",
}
ALWAYS = ("model", "name", "description", "card", "output.dir", "output.plots")

#: Left out, these are as said elsewhere: in `training`, or by the functional.
AS_ELSEWHERE = {
    "xc": "training.stages.learning_rate training.stages.schedule training.stages.final_learning_rate "
    "training.stages.scf_every training.stages.validate_every",
    "ksr": "functional.hidden functional.windows functional.convolutions functional.gate "
    "functional.gate_width",
    "hamiltonian": "",
    "deq": "",
}

_DEEPCHEM = "DeepChem's XCModel has it so, and its tutorials must give what they gave"
#: Those that differ on purpose: the default in YAML, that in Python, and why.
DIFFERENT: dict[tuple[str, str], tuple[Any, Any, str]] = {
    ("xc", "functional.xc"): ("pbe", None, "in Python a functional may be given instead"),
    ("xc", "functional.network.family"): ("gga", None, "in Python that of the functional"),
    ("xc", "functional.network.output"): ("lda_exchange", "raw", _DEEPCHEM),
    ("xc", "functional.aweight0"): (1.0, None, "in Python 1 for networks that begin with 0, else 0"),
    ("xc", "functional.train_a"): (False, True, _DEEPCHEM),
    ("xc", "functional.train_b"): (False, True, _DEEPCHEM),
    ("xc", "training.epochs"): (None, 10, "a limit where there are stages, else 100"),
    ("xc", "training.batch_size"): (1, None, "in Python 1 for scf stages, all for frozen ones"),
    ("xc", "training.loss_unit"): ("kcal/mol", "hartree", _DEEPCHEM),
    ("xc", "training.huber_delta"): (5.0, 1.0, "each in its loss_unit"),
    ("xc", "training.type_weights"): ({}, None, "both weigh all types alike"),
    ("xc", "training.seed"): (0, None, _DEEPCHEM),
    ("ksr", "training.seeds"): (1, None, "in Python None goes on from the present weights"),
    ("deq", "network.cell"): ("graph", None, "in Python that of the features of the first data set"),
    ("deq", "data.tasks"): (["dipole"], "polar", "loaders give classes first, as MoleculeNet's"),
}


def keys(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key that holds no section, dotted."""
    for name, field in section.model_fields.items():
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if inspect.isclass(a)]
        below = next((a for a in inner if issubclass(a, Section)), None)
        if below is None:
            yield prefix + name, field
        else:
            yield from keys(below, f"{prefix}{name}.")


def listed(key: str, words: str) -> bool:
    return any(key == word or key.startswith(word + ".") for word in words.split())


def default_in_python(kind: str, section: str, name: str) -> Any:
    """Return the default of the argument that takes a key; raise LookupError if there is none."""
    word = NAMES.get(name, name)
    for taker in TAKEN[kind].get(section, ()):
        if taker is FIT:
            arguments = inspect.signature(Fitting.fit).parameters
            if (
                word in arguments and word != "loss"
            ):  # another thing. Where it is None, the family of models has its own
                value = arguments[word].default
                return getattr(MODELS[kind].fit_defaults, word, None) if value is None else value
            continue
        arguments = dict(inspect.signature(taker).parameters)
        if inspect.isclass(taker) and issubclass(taker, TorchModel):  # it hands the rest on
            arguments = {**inspect.signature(TorchModel.__init__).parameters, **arguments}
        for found in (name, word):
            if found in arguments:
                return arguments[found].default
    raise LookupError(f"{kind}: nothing in Python takes {section}.{name}")


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


CASES = [
    (kind, key, field)
    for kind, row in KINDS.items()
    for key, field in keys(row.schema)
    if not listed(key, OF_RUNS[kind] + " " + " ".join(ALWAYS))
]


@pytest.mark.parametrize(("kind", "key", "field"), [pytest.param(*c, id=f"{c[0]}-{c[1]}") for c in CASES])
def test_every_default_is_the_same_in_python(kind, key, field):
    section, _, name = key.rpartition(".")
    here = field.default
    if listed(key, AS_ELSEWHERE[kind]):
        assert here is None
        return
    there = default_in_python(kind, section, name)
    if here is PydanticUndefined:  # has to be given, there as well
        assert there is inspect.Parameter.empty
    elif (kind, key) in DIFFERENT:
        assert (here, there) == DIFFERENT[kind, key][:2]
        assert plain(here) != plain(there), "they are the same: take it off the list"
    else:
        assert plain(here) == plain(there)


def test_what_is_listed_is_there():
    known = {(kind, key) for kind, row in KINDS.items() for key, _ in keys(row.schema)}
    assert set(DIFFERENT) <= known
    for lists in (OF_RUNS, AS_ELSEWHERE):
        for kind, words in lists.items():
            for word in words.split():
                assert any(k == kind and listed(key, word) for k, key in known), (kind, word)
