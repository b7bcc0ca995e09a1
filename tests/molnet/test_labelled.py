"""Labels made here as DeepChem data sets: files of one's own, and those that come along."""

import numpy as np
import pytest
from rdkit import Chem

from deepchem_dft import molnet
from deepchem_dft.data.properties.labelling import GeometryRecipe, label_file
from deepchem_dft.errors import InputError

ROWS = """\
smiles,dipole,gap,energy
CCO,1.5,12.0,-11.39
c1ccccc1O,1.4,4.0,-20.1
c1ccccc1C#N,4.2,3.9,-21.2
CC,0.0,13.0,-7.3
c1ccncc1,2.2,3.5,-16.5
C1CCOC1,1.8,11.0,-17.0
CC#N,3.9,8.0,-9.6
O=C1CCCC1,3.1,3.7,-18.7
CN,1.3,10.0,-8.1
CC=O,2.7,3.6,-10.4
"""


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"# a table of one's own\n{ROWS}")
    return path


def test_what_the_command_writes_can_be_loaded(tmp_path):
    (tmp_path / "in.smi").write_text("O water\n[Na+] ion\nCO methanol\nCCO ethanol\nCC ethane\n")
    label_file(tmp_path / "in.smi", tmp_path / "out.csv", recipe=GeometryRecipe(conformers=1))
    tasks, (everything,), _ = molnet.load_labelled(
        tmp_path / "out.csv", "ecfp", None, task=["dipole", "gap", "energy"]
    )
    assert tasks == ["dipole", "gap", "energy"] and everything.y.shape == (4, 3)
    assert list(everything.ids) == ["O", "CO", "CCO", "CC"]
    assert everything.y[3, 0] == pytest.approx(0, abs=0.05) and (everything.y[:, 2] < 0).all()


def test_polar_molecules_split_by_scaffold(table):
    tasks, parts, (classes,) = molnet.load_labelled(table)
    assert tasks == ["polar"] and tuple(map(len, parts)) == (8, 1, 1)
    dipoles = dict(line.split(",")[:2] for line in ROWS.splitlines()[1:])
    for part in parts:
        for smiles, graph, (label,) in zip(part.ids, part.X, part.y, strict=True):
            original = next(s for s in dipoles if Chem.CanonSmiles(s) == smiles)
            assert label == (float(dipoles[original]) > classes.thresholds[0])
            assert graph.edge_features.shape == (graph.num_edges, 11)
    assert parts[0].y.mean() == 0.5


@pytest.mark.parametrize(
    "name, check",
    [
        ("molgraphconv", lambda x: x.node_features.shape[1] == 30),
        ("dmpnn", lambda x: x.node_features.shape[1] == 133),
        ("ecfp", lambda x: x.shape == (2048,) and set(x) == {0, 1}),
        ("rdkit", lambda x: x.ndim == 1 and len(x) > 100),
        ("raw", lambda x: x.GetNumAtoms() == 3),
    ],
)
def test_featurizers(table, name, check):
    _, (everything,), _ = molnet.load_labelled(table, name, None, task="gap")
    assert check(everything.X[0])


def test_a_random_split_is_repeatable(table):
    ids = [list(molnet.load_labelled(table, "ecfp", "random", reload=False)[1][0].ids) for _ in range(2)]
    assert ids[0] == ids[1] != list(molnet.load_labelled(table, "ecfp", "index")[1][0].ids)


def test_an_unfinished_file_is_loaded_with_a_warning(tmp_path):
    (tmp_path / "in.smi").write_text("O\nCO\nCC\n")
    out = tmp_path / "out.csv"
    label_file(tmp_path / "in.smi", out, recipe=GeometryRecipe(conformers=1))
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    with pytest.warns(UserWarning, match="has 2 of 3 molecules; go on with .*--resume"):
        _, (everything,), _ = molnet.load_labelled(out, "ecfp", None, task="gap")
    assert len(everything) == 2


@pytest.mark.parametrize(
    "old, new, entry, field",
    [
        ("CCO,1.5,12.0", "CCO,nan,12.0", "line 3", "dipole"),
        ("CC#N,", "CC#,", "line 9", "smiles"),
        ("CN,1.3,10.0,-8.1", "CN,1.3,10.0", "line 11", "gap"),
        ("CN,", "[He],", "line 11", "featurizer"),
    ],
)
def test_bad_rows(table, cache, old, new, entry, field):
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        molnet.load_labelled(table)
    error = caught.value
    assert (error.file, error.entry, error.field) == (str(table), entry, field)
    assert not [p for p in cache.rglob("*") if p.is_file()]


class TestNCI:
    @pytest.fixture
    def loaded(self, tmp_path_factory):
        """The same for all tests of this class, by way of the cache."""
        return molnet.load_nci("ecfp", save_dir=str(tmp_path_factory.getbasetemp() / "nci"))

    def test_two_thousand_molecules_half_of_them_polar(self, loaded):
        tasks, parts, (classes,) = loaded
        sizes = tuple(map(len, parts))
        assert tasks == ["polar"] and sum(sizes) >= 1500
        assert np.array(sizes) / sum(sizes) == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
        assert parts[0].y.mean() == pytest.approx(0.5, abs=0.01)
        assert 1 < classes.thresholds[0] < 5
        ids = [set(part.ids) for part in parts]
        assert not ids[0] & ids[1] and not ids[0] & ids[2] and not ids[1] & ids[2]

    def test_no_scaffold_is_in_two_parts(self, loaded):
        from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

        scaffolds = [{MurckoScaffoldSmiles(s) for s in part.ids} for part in loaded[1]]
        assert not scaffolds[0] & (scaffolds[1] | scaffolds[2])

    def test_the_polar_task_can_be_learned(self, loaded):
        """Better than chance by far, on unseen scaffolds, with the simplest of models."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        _, (train, _, test), _ = loaded
        model = LogisticRegression(C=0.05, max_iter=300).fit(train.X, train.y.ravel())
        assert roc_auc_score(test.y.ravel(), model.predict_proba(test.X)[:, 1]) > 0.7
