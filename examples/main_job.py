"""The main job from Python: what `make train` does with train_pbe_mgga.yaml, to the same digits.

    python examples/main_job.py

The functional is trained at fixed densities, which are solved by all cores; then it is evaluated
self-consistently on atoms that it has not seen.
"""

import deepchem as dc
import torch
from deepchem.models.optimizers import AdamW

from deepchem_dft import molnet
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc import Stage


def main(folder: str = "runs/main_job") -> XCModel:
    """Train; progress and model are kept in ``folder``."""
    torch.set_num_threads(2)  # as `threads: 2`
    _, (train, valid, _), _ = molnet.load_w411(multireference=False, basis="def2-tzvp")
    _, (ions,), _ = molnet.load_atomic_ip(splitter=None, basis="def2-tzvp")

    network = {"family": "mgga", "hidden": [16, 16], "output": "lda_exchange", "max_output": 0.3}
    model = XCModel(
        "pbe",
        network | {"ueg_exact": True},
        family="mgga",
        train_a=False,
        train_b=False,
        loss="huber",
        loss_unit="kcal/mol",
        huber_delta=5.0,
        optimizer=AdamW(weight_decay=1e-4),
        grid_level=2,
        tol=1e-5,  # orbitals good to that give energies good to 1e-9 Ha
        seed=0,
        batch_size=1,
        model_dir=folder,
    )
    stages = [
        Stage(400, "frozen", learning_rate=0.005, schedule="cosine", validate_every=10),
        Stage(100, "frozen", learning_rate=0.002, schedule="cosine", validate_every=10),
    ]
    model.fit(
        together(train, ions, ["H", "C", "O", "Ne", "Si"]),
        stages=stages,
        valid_dataset=together(valid, ions, ["He", "N", "F"]),
    )
    return model


def together(molecules: dc.data.Dataset, ions: dc.data.Dataset, atoms: list[str]) -> dc.data.Dataset:
    """Return atomisation energies, and the ionisation energies of some atoms."""
    rows = [list(ions.ids).index(f"atomic-ip:{atom}") for atom in atoms]
    return dc.data.DiskDataset.merge([molecules, ions.select(rows)])


if __name__ == "__main__":
    model = main()
    best = min(report.score for report in model.history if report.score is not None)
    print(f"mean absolute error of the validation entries: {best:.4f} kcal/mol")
