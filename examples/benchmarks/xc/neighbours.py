"""Does it help to see the neighbours? NNNonlocal and the same factors of points alone, trained alike.

Usage: python examples/benchmarks/xc/neighbours.py [--seeds 0 1 2] [--select] [--limit N] [--folder FOLDER]
Both forms start from r2SCAN and are trained on what the zoo's nn-mgga is trained on (the entries, the
loss, the basis and the grid of examples/zoo/nn-mgga.yaml) at the densities of r2SCAN, then asked for the
W4-11 test molecules at these densities. --select chooses fines and epochs of NNNonlocal by
cross-validation on the training entries, and looks at no test molecule. Densities and trained
functionals stay in the folder, and what is there is not made again; the functionals run self-consistently:

    deepchem-dft evaluate --xc runs/neighbours/neighbours-0.safetensors --dataset w4-11:test \\
        --basis def2-qzvp --grid-level 2

Prints a table; ends non-zero if a training did not lower the error of its own entries.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from deepchem_dft.cli.common import load_deepchem

load_deepchem()

from deepchem_dft import KohnSham, zoo  # noqa: E402
from deepchem_dft.fitting.options import FitOptions  # noqa: E402
from deepchem_dft.models import XCModel  # noqa: E402
from deepchem_dft.models.xc.frozen import FrozenEntries, FrozenTrainer  # noqa: E402
from deepchem_dft.models.xc.samples import unique_systems  # noqa: E402
from deepchem_dft.models.xc.stages import Stage  # noqa: E402
from deepchem_dft.runs.config import load_config  # noqa: E402
from deepchem_dft.runs.xc.entries import load_sets  # noqa: E402
from deepchem_dft.runs.xc.functional import build_xc_model  # noqa: E402
from deepchem_dft.scf.frozen.binned import BinnedDensity, bin_density  # noqa: E402
from deepchem_dft.scf.frozen.density import FrozenDensity  # noqa: E402
from deepchem_dft.scf.parts import Quadratures  # noqa: E402
from deepchem_dft.scf.quadrature import XCQuadrature  # noqa: E402
from deepchem_dft.units import HARTREE_TO_KCAL  # noqa: E402
from deepchem_dft.xc import get_xc  # noqa: E402

RECIPE = Path(__file__).parents[2] / "zoo" / "nn-mgga.yaml"
#: What sees points alone is as in the zoo; of what sees more, a smaller one than the default.
POINTS = {"form": "enhancement", "hidden": [16, 16]}
NEIGHBOURS = {
    "form": "nonlocal",
    "hidden": [8, 8],
    "channels": 4,
    "radial": 4,
    "descriptors": 4,
    "degree": 2,
    "cutoff": 4.0,
    "dtype": "float32",
}
#: Electrons at a point; those with fewer have 1e-3 electrons in all.
FEWEST = 1e-6
#: Epochs of up to ten iterations of L-BFGS; fines on size and roughness, those of NNNonlocal by --select.
EPOCHS = {"points": 100, "neighbours": 10}
FINES = {"points": (1.0, 0.01), "neighbours": (1.0, 0.01)}
#: What --select chooses from, in this many parts.
CHOICES = [(10.0, 0.1), (1.0, 0.01), (0.1, 0.001)]
FOLDS = 3


def model_of(form: str, seed: int) -> XCModel:
    """Return an untrained model with loss and optimiser of the zoo's recipe."""
    config = load_config(RECIPE, [f"training.seed={seed}"])
    model = build_xc_model(config)
    if form == "points":
        return model
    return XCModel(
        "r2scan", NEIGHBOURS, loss=config.training.loss, huber_delta=config.training.huber_delta, seed=seed
    )


def density(system: Any, level: int) -> tuple[BinnedDensity, BinnedDensity]:
    """Return r2SCAN's density as either form is trained on it.

    The orbitals are those of a grid of level 0, their energy that of a finer one. What looks around has
    the points of the coarse grid, on which only its difference to r2SCAN is computed.
    """
    parent = get_xc("r2scan")
    solved = KohnSham(system.to_molecule(0), parent, tol=1e-5).run()
    molecule, state = system.to_molecule(level), solved.state
    frozen = FrozenDensity.from_state(molecule, parent, state)
    points = bin_density(frozen, model_of("points", 0).functional)  # type: ignore[arg-type]
    grid = molecule.coarse_grid
    field = XCQuadrature(parent, [grid], {None: 0}, molecule.nao, len(frozen.rho), torch.device("cpu"))
    with torch.no_grad():
        rho, quadrature = field.density_of_orbitals(state.orbitals, state.occupations), grid.quadrature
        kept = rho[:, 0].sum(0) * quadrature.weights > FEWEST
        rho, quadrature = rho[:, :, kept], quadrature.at(kept)
        fixed = float(frozen.energy(parent)) - float(parent.energy(rho, quadrature))
    whole = FrozenDensity(rho, Quadratures([quadrature], {None: 0}), 0.0, {}, frozen.nuclei)
    return points, BinnedDensity({}, fixed, 0.0, [], [], frozen.nuclei, whole)


def densities(entries: Sequence[Any], options: argparse.Namespace) -> dict[str, dict[Any, BinnedDensity]]:
    """Return those of all systems by form, made or found in the folder."""
    found: dict[str, dict[Any, BinnedDensity]] = {form: {} for form in EPOCHS}
    systems, start = unique_systems(entries), time.process_time()
    options.folder.mkdir(parents=True, exist_ok=True)
    for system in systems:
        key = system.to_molecule(options.grid_level).key[:24]
        paths = [options.folder / f"{key}.{form}.pt" for form in EPOCHS]
        if not all(path.is_file() for path in paths):
            for path, made in zip(paths, density(system, options.grid_level), strict=True):
                made.save(path)
        for form, path in zip(EPOCHS, paths, strict=True):
            found[form][system.key] = BinnedDensity.load(path)
    print(f"{len(systems)} densities, {time.process_time() - start:.0f} CPU s", flush=True)
    return found


def prepared(entry: Any, options: argparse.Namespace) -> bool:
    """Whether the densities of an entry are in the folder."""
    keys = [s.to_molecule(options.grid_level).key[:24] for s in entry.get_systems()]
    return all((options.folder / f"{key}.{form}.pt").is_file() for key in keys for form in EPOCHS)


def errors(data: FrozenEntries, model: XCModel) -> torch.Tensor:
    """Return errors of entries, kcal/mol."""
    with torch.no_grad():
        prediction = data.predict(model.functional)  # type: ignore[arg-type]
    return ((prediction - data.target) * HARTREE_TO_KCAL).flatten()


def train_at(
    own: FrozenEntries,
    model: XCModel,
    epochs: int,
    fines: tuple[float, float],
    after: Callable[[Any], None] | None = None,
) -> None:
    """Train a model at fixed densities."""
    stage = Stage(epochs, "frozen", optimizer="lbfgs", size_penalty=fines[0], roughness_penalty=fines[1])
    FrozenTrainer(model, stage, own, options=FitOptions(epoch_callback=after)).run()


def select(own: FrozenEntries, epochs: int, choices: Sequence[tuple[float, float]] = CHOICES) -> None:
    """Print the error of entries that a network was not trained on, epoch by epoch, for every choice."""
    parts = torch.arange(len(own)) % FOLDS
    for fines in choices:
        held_out = torch.zeros(epochs, len(own))
        for fold in range(FOLDS):
            rows = (parts == fold).nonzero().flatten().tolist()
            kept, left = own.take((parts != fold).nonzero().flatten().tolist()), own.take(rows)
            model = model_of("neighbours", 0)

            def judge(report: Any, model=model, left=left, rows=rows, out=held_out) -> None:
                out[report.epoch - 1, rows] = errors(left, model).abs().float()

            train_at(kept, model, epochs, fines, judge)
        means = " ".join(f"{value:.2f}" for value in (held_out * own.weight[:, 0]).sum(1) / own.weight.sum())
        print(f"fines {fines}, held-out error after each epoch, weighted, kcal/mol: {means}", flush=True)


def row(name: str, model: XCModel, own: FrozenEntries, others: FrozenEntries, seconds: float) -> float:
    """Print a row of the table; return the mean absolute error of the training entries, kcal/mol."""
    inside, outside = errors(own, model).abs(), errors(others, model).abs()
    figures = f"{inside.mean():.2f} | {outside.mean():.2f} | {outside.max():.1f} | {seconds:.0f}"
    print(f"| {name} | {figures} |", flush=True)
    return float(inside.mean())


def main() -> int:
    """Print the table; return 1 if a training did not help where it was trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--forms", nargs="*", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--select", action="store_true", help="choose fines and epochs of NNNonlocal")
    parser.add_argument("--basis", default="def2-qzvp")
    parser.add_argument("--grid-level", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of NNNonlocal")
    parser.add_argument("--prepared", action="store_true", help="only entries whose densities are there")
    parser.add_argument("--limit", type=int, help="so many entries of each set")
    parser.add_argument("--folder", type=Path, default=Path("runs/neighbours"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = load_sets(load_config(RECIPE, [f"data.basis={options.basis}"]).data)
    train = [e for s in sets if s.role == "train" for e in s.entries[: options.limit]]
    test = next(s for s in sets if s.role == "test").entries[: options.limit]
    if options.prepared:
        train, test = ([e for e in some if prepared(e, options)] for some in (train, test))
    epochs = {**EPOCHS, "neighbours": options.epochs or EPOCHS["neighbours"]}
    if options.select:
        select(FrozenEntries.make(train, densities(train, options)["neighbours"]), epochs["neighbours"])
        return 0
    known = densities([*train, *test], options)
    print(f"{len(train)} training entries, {len(test)} test entries, {options.basis}; mean absolute error")
    print("| form | seed | weights | training entries | W4-11 test | largest | CPU s |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    failed = False
    for form in options.forms:
        own, others = (FrozenEntries.make(e, known[form]) for e in (train, test))
        untrained = model_of(form, 0)
        start = row(f"r2SCAN, as {form} start | | ", untrained, own, others, 0.0)
        for seed in options.seeds:
            path, began = options.folder / f"{form}-{seed}.safetensors", time.process_time()
            model = model_of(form, seed)
            if path.is_file():
                model.functional.load_state_dict(zoo.load(path).state_dict())
            else:
                train_at(own, model, epochs[form], FINES[form])
                zoo.save(model.functional, path)
            taken = time.process_time() - began
            count = sum(p.numel() for p in model.functional.parameters() if p.requires_grad)
            failed |= row(f"{form} | {seed} | {count}", model, own, others, taken) >= start
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
