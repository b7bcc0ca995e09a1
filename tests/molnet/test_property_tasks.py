"""The tasks of the three releases from files in their formats to a trained model's prediction."""

import json

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft import DEQModel, molnet

from .conftest import oqmd_entry, oqmd_page

pytestmark = pytest.mark.usefixtures("cache")


def learned(dataset, n_classes: int, epochs: int, **options) -> tuple[np.ndarray, DEQModel]:
    """Return the classes that a model trained on a data set gives it back."""
    model = DEQModel(
        1, "classification", n_classes=n_classes, batch_size=4, learning_rate=0.01, width=16, **options
    )
    model.fit(dataset, nb_epoch=epochs)
    probabilities = model.predict(dataset)
    assert probabilities.shape == (len(dataset), 1, n_classes)
    assert model.last_solve.unconverged == 0
    return probabilities[:, 0].argmax(1), model


def test_polar_molecules_of_qmugs(qmugs_csv):
    _, (train, valid, test), _ = molnet.load_qmugs(data_dir=qmugs_csv, task="polar")
    found, model = learned(train, 2, 30, n_edge_features=11)
    assert found.tolist() == train.y.ravel().tolist()
    score = model.evaluate(valid, [dc.metrics.Metric(dc.metrics.accuracy_score)])
    assert 0.0 <= score["accuracy_score"] <= 1.0 and model.predict(test).shape == (len(test), 1, 2)


def test_pores_of_qmof(qmof):
    _, (train, valid, test), _ = molnet.load_qmof(data_dir=qmof, task="pore")
    found, model = learned(train, 2, 40, n_features=103, n_edge_features=41)
    assert found.tolist() == train.y.ravel().tolist()
    assert len(model.predict(valid)) == len(valid) == len(test) == 1


#: Elements, and a band gap in eV that such a rock salt may have.
SALTS = [
    (("Ti", "N"), 0.0),
    (("Zr", "C"), 0.0),
    (("V", "N"), 0.0),
    (("Ti", "C"), 0.0),
    (("Pb", "S"), 0.4),
    (("Pb", "Te"), 0.2),
    (("Sn", "Te"), 0.2),
    (("Pb", "Se"), 0.3),
    (("Na", "Cl"), 5.0),
    (("K", "F"), 6.1),
    (("Li", "F"), 8.7),
    (("Na", "F"), 6.0),
]


def test_metals_semiconductors_and_insulators_of_oqmd(tmp_path):
    entries = []
    for number, ((cation, anion), gap) in enumerate(SALTS):
        entry = oqmd_entry(number, gap)
        entry |= {
            "name": cation + anion,
            "composition": f"{cation}1 {anion}1",
            "sites": [f"{cation} @ 0 0 0", f"{anion} @ 0.5 0.5 0.5"],
        }
        entries.append(entry)
    (tmp_path / "page.json").write_text(json.dumps(oqmd_page(entries)), encoding="utf-8")
    _, (everything,), (classes,) = molnet.load_oqmd(
        splitter=None, data_dir=tmp_path / "page.json", task="conduction"
    )
    found, _ = learned(everything, 3, 40, n_features=103, n_edge_features=41)
    names = [classes.classes[number] for number in found]
    assert names == ["metal"] * 4 + ["semiconductor"] * 4 + ["insulator"] * 4
