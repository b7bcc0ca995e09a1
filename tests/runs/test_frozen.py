"""Frozen stages: they minimise what they say, and go on exactly where they stopped."""

from __future__ import annotations

import pytest
import torch

from deepchem_dft.errors import FunctionalError
from deepchem_dft.models import EntryLoss
from deepchem_dft.runs.entries import select, unique_systems
from deepchem_dft.runs.frozen import FrozenEntries, FrozenTrainer
from deepchem_dft.runs.schema import DatasetRef, StageConfig, TrainingConfig
from deepchem_dft.scf import KohnSham, SCFLayer
from deepchem_dft.scf.compressed import compress
from deepchem_dft.xc import HybridXC, build_network

from .conftest import DATA


def functional() -> HybridXC:
    network = build_network(family="mgga", hidden=(6,), output="lda_exchange", seed=3)
    return HybridXC("pbe", network, aweight0=1.0, family="mgga", train_a=False, train_b=False)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> tuple[FrozenEntries, FrozenEntries]:
    """Training and validation entries at their PBE densities."""
    file = tmp_path_factory.mktemp("data") / "data.yaml"
    file.write_text(DATA)
    xc = functional()
    parts = []
    for split in ("train", "valid"):
        entries = select(DatasetRef(file=str(file), split=split))
        densities = {}
        for system in unique_systems(entries):
            molecule = system.to_molecule(grid_level=1)
            state = KohnSham(molecule, "pbe").run().state
            density = SCFLayer(xc).frozen_density(molecule, state)
            densities[system.key] = compress(density, xc)
        parts.append(FrozenEntries.make(entries, densities))
    return parts[0], parts[1]


def trainer(frozen, *, valid=True, batch_size=None, **training) -> FrozenTrainer:
    settings = TrainingConfig(**training)
    stage = StageConfig(
        mode="frozen", epochs=12, learning_rate=0.01, schedule="cosine", final_learning_rate=0.1,
        validate_every=2, batch_size=batch_size,
    )  # fmt: skip
    loss = EntryLoss("l2", unit="kcal/mol")
    return FrozenTrainer(
        functional(), frozen[0], frozen[1] if valid else None, loss, stage, settings
    )


def test_prediction_at_the_start_is_that_of_the_conventional_functional(frozen, tmp_path):
    """A network that returns zero on PBE densities: PBE's own atomisation energy."""
    molecule = next(iter(frozen[0].entries)).get_systems()[0].to_molecule(grid_level=1)
    atom = next(iter(frozen[0].entries)).get_systems()[1].to_molecule(grid_level=1)
    energies = [float(KohnSham(m, "pbe").run().energy.detach()) for m in (molecule, atom)]
    predicted = float(frozen[0].predict(functional())[0].detach())
    assert predicted == pytest.approx(2 * energies[1] - energies[0], abs=1e-7)


@pytest.mark.parametrize("batch_size", [None, 1])
def test_loss_falls(frozen, batch_size):
    rows: list[dict] = []
    trainer(frozen, valid=False, batch_size=batch_size).fit(rows.append)
    assert len(rows) == 12
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[-1]["learning_rate"] == pytest.approx(0.001)


def test_best_parameters_are_kept(frozen):
    rows: list[dict] = []
    run = trainer(frozen)
    run.fit(rows.append)
    scores = {row["epoch"]: row["valid_score"] for row in rows if "valid_score" in row}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    with torch.no_grad():
        now = frozen[1].mae_kcal(frozen[1].predict(run.functional))
    assert now == pytest.approx(min(scores.values()), abs=1e-9)


def test_early_stopping(frozen):
    rows: list[dict] = []
    run = trainer(frozen, early_stopping=1)
    run.best = {"score": 0.0, "epoch": 0, "since": 0, "parameters": run.functional.state_dict()}
    run.fit(rows.append)
    assert len(rows) == 2


def test_goes_on_where_it_stopped(frozen):
    whole: list[dict] = []
    trainer(frozen, batch_size=1).fit(whole.append)

    class Killed(Exception):
        pass

    first = trainer(frozen, batch_size=1)
    saved = {}

    def stop(row):
        if row["epoch"] == 5:
            saved.update(torch.load(_through_file(first.state_dict()), weights_only=True))
            raise Killed

    with pytest.raises(Killed):
        first.fit(stop)
    second, rest = trainer(frozen, batch_size=1), []
    second.load_state_dict(saved)
    second.fit(rest.append)
    assert [row["loss"] for row in rest] == [row["loss"] for row in whole[5:]]


def _through_file(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_a_loss_that_explodes_is_an_error(frozen):
    run = trainer(frozen)
    with torch.no_grad():
        next(iter(run.parameters)).fill_(float("inf"))
    with pytest.raises(FunctionalError, match="learning_rate"):
        run.fit(lambda row: None)
