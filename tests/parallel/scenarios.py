"""What one process and two must do alike; the tests call it, and torchrun runs it as a script.

Usage under torchrun: scenarios.py FOLDER. Each process writes what it saw to FOLDER/rank<N>.pt.
"""

import atexit
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from deepchem_dft import parallel
from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import InputError
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.samples import make_dataset
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, kohn_sham

H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"}
H = {"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1}
HE = {"moldesc": "He 0 0 0", "basis": "6-31g"}
HE_ION = {"moldesc": "He 0 0 0", "basis": "6-31g", "charge": 1, "spin": 1}
LI = {"moldesc": "Li 0 0 0", "basis": "sto-3g", "spin": 1}
OTHER_H2 = {"moldesc": "H 0 0 0; H 0 0 1.5", "basis": "6-31g"}
EPOCHS = 10


def entries():
    """Six entries that share systems; in batches of three, no step has all of them."""
    return [
        DFTEntry.create("ae", "0.1742", [H2, {**H, "number": 2}]),
        DFTEntry.create("ie", "0.9036", [HE, HE_ION]),
        DFTEntry.create("energy", "-2.9037", [HE]),
        DFTEntry.create("ie", "0.5", [H]),
        DFTEntry.create("energy", "-1.1745", [H2]),
        DFTEntry.create("energy", "-7.5", [LI]),
    ]


def make_model(**options):
    defaults = {
        "grid_level": 0,
        "seed": 3,
        "hidden_size": 4,
        "learning_rate": 0.01,
        "batch_size": 3,
        "loss": "l1",
    }
    return XCModel("lda,pw", **{**defaults, **options})


def state_of(model, **more):
    """Return all a fit ends with, wall times apart."""
    reports = [(r.loss, r.mae_kcal, r.score or 0.0, r.unconverged, r.scf_solutions) for r in model.history]
    parameters = torch.cat([p.detach().flatten() for p in model.model.parameters()])
    return {"history": reports, "parameters": parameters.tolist(), **more}


def training(folder):
    """Ten epochs with validation; the test goes on from the checkpoint of the fifth."""
    model = make_model(model_dir=str(folder / "training"))
    data, valid = make_dataset(entries()), make_dataset(entries()[:2])
    model.fit(data, nb_epoch=5, valid_dataset=valid, restore_best=False)
    middle = state_of(model)
    seed = np.random.randint(1000)  # process 0's random numbers are those of all
    model.fit(data, nb_epoch=5, valid_dataset=valid, restore_best=False, max_checkpoints_to_keep=0)
    prediction = model.predict(data).ravel().tolist()
    return state_of(
        model, middle=middle, prediction=prediction, seed=seed, by_type=model.evaluate_by_type(data)
    )


def going_on(folder):
    """From a checkpoint that the test wrote with one process."""
    model = make_model(model_dir=str(folder / "from-one"), seed=99 + parallel.rank())
    model.fit(
        make_dataset(entries()),
        nb_epoch=EPOCHS,
        restore=True,
        restore_best=False,
        valid_dataset=make_dataset(entries()[:2]),
        max_checkpoints_to_keep=0,
    )
    return state_of(model)


def moving(folder):
    """Systems change their process after the second and fourth epochs, whatever they cost."""
    from deepchem_dft.models.xc import spreading

    usual = spreading.rebalanced
    spreading.rebalanced = lambda ranks, costs, size: [size - 1 - rank for rank in ranks]
    try:
        model = make_model(model_dir=str(folder / "moving"), scf_every=2)
        owners = []
        model.fit(
            make_dataset(entries()),
            nb_epoch=6,
            valid_dataset=make_dataset(entries()[:2]),
            before_epoch=lambda m, epoch: owners.append(dict(m.model.spreader.owners)),
        )
    finally:
        spreading.rebalanced = usual
    moved = len(owners[0]) and [set(a.items()).isdisjoint(b.items()) for a, b in zip(owners, owners[1:])]
    return state_of(model), moved


def densities(folder):
    """A density matrix, a density and an energy of one molecule, and energies of others."""
    place = folder / f"target{parallel.rank()}"
    place.mkdir(exist_ok=True)
    molecule = Molecule(OTHER_H2["moldesc"], "6-31g", grid_level=0)
    result = KohnSham(molecule, "pbe", tol=1e-9).run()
    np.save(place / "dm.npy", result.total_density_matrix.detach().numpy())
    np.savez(
        place / "dens.npz",
        points=molecule.points,
        weights=molecule.weights,
        density=result.density(molecule.points).detach(),
    )
    data = make_dataset(
        [
            DFTEntry.create("dm", str(place / "dm.npy"), [OTHER_H2]),
            DFTEntry.create("dens", str(place / "dens.npz"), [OTHER_H2], tolerance=0.01),
            DFTEntry.create("energy", "-1.1", [OTHER_H2]),
            *entries()[1:3],
        ]
    )
    model = make_model(batch_size=5, hidden_size=3, type_weights={"dm": 50.0})
    model.fit(data, nb_epoch=3)
    return state_of(model, prediction=model.predict(data).ravel().tolist())


def nonlocal_parts(folder):
    """A functional with VV10, whose parts are on grids of their own."""
    model = XCModel("wb97x-v", grid_level=0, seed=3, hidden_size=3, batch_size=3, loss="l1")
    data = make_dataset(entries()[:3])
    model.fit(data, nb_epoch=2)
    return state_of(model, prediction=model.predict(data).ravel().tolist())


@contextmanager
def trouble_with(symbols, charge, trouble):
    """Call ``trouble(options)`` before a molecule is solved."""
    usual = kohn_sham.solve

    def solve(hamiltonian, **options):
        molecule = hamiltonian.molecule
        if (molecule.symbols, molecule.charge) == (symbols, charge):
            trouble(options)
        return usual(hamiltonian, **options)

    kohn_sham.solve = solve
    try:
        yield
    finally:
        kohn_sham.solve = usual


def stop_early(options):
    options.update(max_iter=1, tol=1e-14)


def fail(options):
    raise InputError("there is too little memory", remedy="buy some")


def unconverged(folder):
    """Entries left out in training; NaN or an error in prediction."""
    data = make_dataset([entries()[5], *entries()[:3]])
    with trouble_with(["Li"], 0, stop_early):
        model = make_model(model_dir=str(folder / "unconverged"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(data, nb_epoch=3)
        prediction = model.predict(data, on_unconverged="nan").ravel().tolist()
        return state_of(
            model,
            prediction=[repr(p) for p in prediction],
            warned=[str(w.message)[:40] for w in caught if w.category is UserWarning],
            error=error_of(lambda: model.predict(data)),
        )


def errors(folder):
    """One process fails, all raise what a single one would have raised."""
    data = make_dataset(entries())
    nan = make_model(model_dir=str(folder / "nan"))
    broken = list(nan.functional.nnxc.parameters())[-1]
    healthy = make_model(batch_size=6, model_dir=str(folder / "broken"))
    healthy.fit(data, nb_epoch=1)
    with torch.no_grad():
        broken.fill_(torch.nan)
    with trouble_with(["He"], 1, fail):
        training = error_of(lambda: healthy.fit(data, nb_epoch=1))
    return {
        "nan network": error_of(lambda: nan.fit(data, nb_epoch=1)),
        "files of it": nan.get_checkpoints(),
        "memory": training,
        "no checkpoint": error_of(lambda: nan.fit(data, restore=True)),
        "afterwards": healthy.predict(data).ravel().tolist(),
    }


def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class Unsendable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def talk(folder):
    """The tools themselves; only of interest with two processes."""
    rank, seen = parallel.rank(), []

    def work(item):
        if item == "bad":
            raise Unsendable("cannot travel", 2)
        return item * 2

    def lose():
        raise Unsendable("not there", 2)

    with parallel.alone():
        inside = parallel.world_size()
    return {
        "size": parallel.world_size(),
        "alone": inside,
        "gathered": parallel.gather(rank),
        "shared": parallel.share_out(work, [1, 2, 3, 4, 5], seen.append),
        "seen": sorted(seen),
        "failed": error_of(lambda: parallel.share_out(work, [1, "bad", 3])),
        "after": parallel.share_out(work, []),
        "main": parallel.on_main(lambda: parallel.world_size()),
        "main failed": error_of(lambda: parallel.on_main(lose)),
        "same": error_of(lambda: parallel.check_same("numbers", str(rank))),
        "predict": error_of(lambda: make_model().predict(make_dataset(entries()[rank : rank + 1]))),
    }


def others(folder):
    """Models whose training is not shared: all processes do the same, and one writes."""
    import deepchem as dc

    from deepchem_dft import DEQModel, HamiltonianModel, KSRModel
    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample
    from deepchem_dft.lattice.exact import exact
    from deepchem_dft.lattice.grid import Grid
    from deepchem_dft.lattice.systems import h2
    from deepchem_dft.runs.ksr.evaluation import make_dataset as molecules

    grid, rng, found = Grid(61, 0.3), np.random.default_rng(0), {}
    vectors = dc.data.NumpyDataset(rng.normal(size=(6, 4)), rng.normal(size=(6, 1)))
    states = molecules([exact(h2(r), grid) for r in (1.2, 3.6)])

    def deq():
        return DEQModel(
            1, cell="fingerprint", n_features=4, width=3, hidden=0, seed=0, model_dir=str(folder / "deq")
        )

    def ksr():
        return KSRModel(
            "local",
            grid=grid,
            iterations=6,
            functional_options={"hidden": [3]},
            model_dir=str(folder / "ksr"),
        )

    def hamiltonian():
        sizes = {"width": 2, "hidden": 4, "layers": 1, "n_radial": 4, "warmup": 1}
        place = str(folder / "hamiltonian")
        return HamiltonianModel(["H"], "sto-3g", grid_level=0, seed=0, model_dir=place, **sizes)

    samples = []
    for r in (1.3, 1.5):
        bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe")
        solved = Reference(bare, grid_level=0).solve().hamiltonian
        samples.append(HamiltonianSample(bare.numbers, bare.positions, "sto-3g", solved))
    matrices = dc.data.NumpyDataset(np.array(samples, dtype=object))

    families = (("deq", deq, vectors), ("ksr", ksr, states), ("hamiltonian", hamiltonian, matrices))
    for name, make, data in families:
        model = make()
        for epochs in (2, 4):
            model.fit(data, nb_epoch=epochs, checkpoint_interval=1, restore=epochs > 2)
        again = make()
        again.restore()
        if name == "hamiltonian":
            found[name] = [one.hamiltonian.tolist() for one in again.predict_properties(data)]
        else:
            found[name] = again.predict(data).tolist()
        found[f"{name} files"] = sorted(p.name for p in (folder / name).glob("*.pt"))
    return found


SCENARIOS = [training, going_on, moving, densities, nonlocal_parts, unconverged, errors, talk, others]


def write_threads(path: Path) -> None:
    names = [place.read_text().strip() for place in Path("/proc/self/task").glob("*/comm")]
    path.write_text("\n".join(names))


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.platform == "linux":  # before the package registers what it does at the end, so done after it
        atexit.register(write_threads, folder / f"threads{os.environ['RANK']}.txt")
    np.random.seed(parallel.rank())
    found = {}
    for scenario in SCENARIOS:
        found[scenario.__name__] = scenario(folder)
    torch.save(found, folder / f"rank{parallel.rank()}.pt")


if __name__ == "__main__":
    main()
