"""Frozen stages: they minimise what they say, and go on exactly where they stopped."""

import pytest
import torch

from deepchem_dft.errors import FunctionalError
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.progress import Best
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.frozen import FrozenEntries, FrozenTrainer
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.runs.xc.entries import select, unique_systems
from deepchem_dft.runs.xc.schema import DatasetRef
from deepchem_dft.scf import KohnSham, SCFLayer
from deepchem_dft.scf.frozen.binned import bin_density
from deepchem_dft.units import HARTREE_TO_KCAL as KCAL
from deepchem_dft.xc import EnhancedXC, HybridXC, build_network
from tests.xc.toy import GatherXC

from ..runs.conftest import DATA


def functional() -> HybridXC:
    network = build_network(family="mgga", hidden=(6,), output="lda_exchange", seed=3)
    return HybridXC("pbe", network, aweight0=1.0, family="mgga", train_a=False, train_b=False)


def enhanced(**options) -> HybridXC:
    xc = EnhancedXC("pbe", **{"hidden": [4], "seed": 3, **options})
    return HybridXC(None, xc, aweight0=1.0, train_a=False)


def parts_of(file, xc) -> tuple[FrozenEntries, FrozenEntries]:
    """Return training and validation entries of a file at their PBE densities."""
    parts = []
    for split in ("train", "valid"):
        entries = select(DatasetRef(file=str(file), split=split))
        densities = {}
        for system in unique_systems(entries):
            molecule = system.to_molecule(grid_level=1)
            state = KohnSham(molecule, "pbe").run().state
            density = SCFLayer(xc).frozen_density(molecule, state)
            densities[system.key] = bin_density(density, xc)
        parts.append(FrozenEntries.make(entries, densities))
    return parts[0], parts[1]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "data.yaml"
    file.write_text(DATA)
    return file


@pytest.fixture(scope="module")
def frozen(data_file) -> tuple[FrozenEntries, FrozenEntries]:
    """Training and validation entries at their PBE densities."""
    return parts_of(data_file, functional())


@pytest.fixture(scope="module")
def nodes(data_file) -> tuple[FrozenEntries, FrozenEntries]:
    """The same, boiled down to what an enhanced PBE sees."""
    return parts_of(data_file, enhanced(exchange=0.1, train_exchange=True))


def model_of(xc, **options) -> XCModel:
    return XCModel(xc=xc, loss="l2", loss_unit="kcal/mol", seed=0, **options)


def quick(nodes, xc, epochs=12, optimizer="lbfgs", **penalties) -> FrozenTrainer:
    stage = Stage(epochs, "frozen", optimizer=optimizer, learning_rate=0.01, **penalties)
    return FrozenTrainer(model_of(xc), stage, nodes[0])


def trainer(frozen, *, valid=True, batch_size=None, **options) -> FrozenTrainer:
    stage = Stage(
        12,
        "frozen",
        learning_rate=0.01,
        schedule="cosine",
        final_learning_rate=0.1,
        validate_every=2,
        batch_size=batch_size,
    )
    return FrozenTrainer(
        model_of(functional()), stage, frozen[0], frozen[1] if valid else None, FitOptions(**options)
    )


def rows_of(run: FrozenTrainer, watch=lambda report: None) -> list:
    """Train; return the reports of all epochs."""
    reports = []
    run.options.epoch_callback = lambda report: (reports.append(report), watch(report))
    run.run()
    return reports


def test_prediction_at_the_start_is_that_of_the_conventional_functional(frozen, tmp_path):
    """A network that returns zero on PBE densities: PBE's own atomisation energy."""
    molecule = next(iter(frozen[0].entries)).get_systems()[0].to_molecule(grid_level=1)
    atom = next(iter(frozen[0].entries)).get_systems()[1].to_molecule(grid_level=1)
    energies = [float(KohnSham(m, "pbe").run().energy.detach()) for m in (molecule, atom)]
    predicted = float(frozen[0].predict(functional())[0].detach())
    assert predicted == pytest.approx(2 * energies[1] - energies[0], abs=1e-7)


@pytest.mark.parametrize("batch_size", [None, 1])
def test_loss_falls(frozen, batch_size):
    run = trainer(frozen, valid=False, batch_size=batch_size)
    rows = rows_of(run)
    assert len(rows) == 12
    assert rows[-1].loss < 0.7 * rows[0].loss
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


def test_best_parameters_are_kept(frozen):
    run = trainer(frozen)
    scores = {row.epoch: row.score for row in rows_of(run) if row.score is not None}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    with torch.no_grad():
        now = frozen[1].mae_kcal(frozen[1].predict(run.functional))
    assert now == pytest.approx(min(scores.values()), abs=1e-9)


def test_early_stopping(frozen):
    run = trainer(frozen, early_stopping=1)
    run.progress.best = Best(0, 0.0, 0, 0, dict(run.functional.state_dict()))
    assert len(rows_of(run)) == 2


def test_goes_on_where_it_stopped(frozen):
    whole = rows_of(trainer(frozen, batch_size=1))

    class Killed(Exception):
        pass

    first = trainer(frozen, batch_size=1)
    saved = {}

    def stop(report):
        if report.epoch == 5:
            saved.update(torch.load(_through_file(first.state_dict()), weights_only=True))
            raise Killed

    with pytest.raises(Killed):
        rows_of(first, stop)
    second = trainer(frozen, batch_size=1)
    second.load_state_dict(saved)
    assert [row.loss for row in rows_of(second)] == [row.loss for row in whole[5:]]


def _through_file(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_a_loss_that_explodes_is_an_error(frozen):
    run = trainer(frozen)
    with torch.no_grad():
        next(iter(run.trained)).fill_(float("inf"))
    with pytest.raises(FunctionalError, match="learning_rate"):
        run.run()


# -- L-BFGS and penalties --------------------------------------------------------------------


def test_lbfgs_is_ahead_of_adam(nodes):
    """It gets from the same start to a lower loss in as many evaluations."""
    ends = {}
    for optimizer, epochs in (("lbfgs", 5), ("adam", 60)):
        rows = rows_of(quick(nodes, enhanced(exchange=0.1), epochs, optimizer))
        assert rows[0].loss == pytest.approx(ends.setdefault("first", rows[0].loss))
        ends[optimizer] = rows[-1].loss
    assert ends["lbfgs"] < ends["adam"] < ends["first"]


def test_linear_form_is_solved_as_ridge(nodes):
    """Correlation alone at first order in a stiff ridge: the textbook formula."""
    xc = enhanced(degree=1)
    size = 5e5
    names = ["nnxc.x_factor.coefficients", "nnxc.c_factor.coefficients"]
    parameters = [dict(xc.named_parameters())[name] for name in names]
    values = nodes[0].predict(xc).flatten()
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(v, parameters, retain_graph=True)])
        for v in values
    ]
    slopes, residual = torch.stack(rows) * KCAL, (nodes[0].target[:, 0] - values).detach() * KCAL
    # the metric of the fine, from its gradient: it is quadratic
    metric = []
    for p in parameters:
        for k in range(len(p)):
            with torch.no_grad():
                p[k] = 1.0
            fine = xc.nnxc.penalty(size, 0.0)
            metric.append(torch.cat([g.flatten() for g in torch.autograd.grad(fine, parameters)]))
            with torch.no_grad():
                p[k] = 0.0
    count = len(residual)
    left = slopes.T @ slopes * (2.0 / count) + torch.stack(metric)
    expected = torch.linalg.solve(left, slopes.T @ residual * (2.0 / count))
    rows_of(quick(nodes, xc, 20, size_penalty=size))
    found = torch.cat([p.detach().flatten() for p in parameters])
    assert 1e-5 < expected.abs().max() < 1e-2  # small enough for first order
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=float(expected.abs().max()) * 1e-2)


@pytest.mark.parametrize("kind", ["size", "roughness"])
def test_penalties_hold_factors_back(nodes, kind):
    fines = []
    for strength in (0.0, 1.0, 100.0):
        run = quick(nodes, enhanced(), 4, **{f"{kind}_penalty": strength})
        rows_of(run)
        measure = (1.0, 0.0) if kind == "size" else (0.0, 1.0)
        fines.append(run.functional.nnxc.penalty(*measure).item())
    assert fines[0] > fines[1] > fines[2] > 0


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}, {"exchange": 0.1, "train_exchange": True}])
def test_lbfgs_goes_on_where_it_stopped(nodes, options):
    complete = quick(nodes, enhanced(**options), 5)
    whole = rows_of(complete)
    first, saved = quick(nodes, enhanced(**options), 5), {}

    class Killed(Exception):
        pass

    def stop(report):
        if report.epoch == 2:
            saved.update(torch.load(_through_file(first.state_dict()), weights_only=True))
            raise Killed

    with pytest.raises(Killed):
        rows_of(first, stop)
    second = quick(nodes, enhanced(**options), 5)
    second.load_state_dict(saved)
    rest = rows_of(second)
    assert [row.loss for row in rest] == [row.loss for row in whole[2:]]
    assert rest[-1].loss < whole[0].loss
    for name, value in complete.functional.state_dict().items():
        assert torch.equal(second.functional.state_dict()[name], value)


def test_a_nonlocal_functional_is_trained_on_whole_densities(data_file):
    def make():
        part = GatherXC(level=0)
        part.width.requires_grad_(False)  # nothing keeps it positive
        return HybridXC("pbe", part, aweight0=0.3, train_a=False, train_b=False)

    train, _ = parts_of(data_file, make())
    assert all(density.whole is not None for density in train.batch.densities)
    stage = Stage(4, "frozen", optimizer="lbfgs")
    trainer = FrozenTrainer(model_of(make()), stage, train)
    trainer.run()
    # One parameter, in which energies are linear: least squares have their answer.
    start, one = make(), make()
    with torch.no_grad():
        start.nnxc.strength.zero_()
        one.nnxc.strength.fill_(1.0)
        zero, slope = train.predict(start), train.predict(one) - train.predict(start)
        best = (train.weight * slope * (train.target - zero)).sum() / (train.weight * slope**2).sum()
    assert trainer.functional.nnxc.strength.item() == pytest.approx(best.item(), rel=1e-5)
    # against the energies that the whole way gives at the same orbitals
    entry = train.entries[0]
    for row, xc in ((0, make()), (0, trainer.functional)):
        expected = 0.0
        for coefficient, system in zip(entry.coefficients, entry.get_systems(), strict=True):
            molecule = system.to_molecule(grid_level=1)
            state = KohnSham(molecule, "pbe").run().state
            expected += coefficient * SCFLayer(xc).frozen_energy(molecule, state).item()
        assert train.predict(xc)[row].item() == pytest.approx(expected, abs=1e-7)
