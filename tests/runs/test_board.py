"""Judging on a board: tables say what the records say, published values stand beside, nothing is lost."""

import json
import math
import re

import pytest
from typer.testing import CliRunner

from deepchem_dft.cli import app
from deepchem_dft.errors import InputError
from deepchem_dft.molnet import board
from deepchem_dft.runs.board import tables
from deepchem_dft.runs.board.judging import TRIVIAL, board_rows, judge
from deepchem_dft.runs.board.page import write_page
from deepchem_dft.runs.board.seen import Training, training_of, training_of_name
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.scf.solutions import EnergyRecord
from deepchem_dft.units import HARTREE_TO_KCAL

ROWS = ["TAE_W4-17_118", "TAE_W4-17_143", "S66_1", "S66_8", "BH76_44"]


def record(row, error, uncertainty=None, unconverged=(), label="mine"):
    """A record with an error in kcal/mol."""
    source = board()
    reference = source.rows[source.by_name[row]].reference
    value = math.nan if unconverged else reference + error / HARTREE_TO_KCAL
    spread = None if uncertainty is None else uncertainty / HARTREE_TO_KCAL
    return EntryRecord(
        label, "test", "gscdb138", f"gscdb138:{row}", "reaction", reference, value, list(unconverged), spread
    )


@pytest.fixture
def records():
    return [record(row, e, 1.0) for row, e in zip(ROWS, (1.0, -3.0, 0.2, 0.4, -2.0))]


def judged(records, **options):
    source = board()
    rows = [source.by_name[name] for name in ROWS]
    solved = {
        (str(i), "key"): EnergyRecord(str(i), "key", "x", -1.0, True, "converged", 10 + i, 0.5)
        for i in range(3)
    }
    options = {"training": {}, "peers": ("B3LYP", "wB97M-V"), **options}
    return judge(source, rows, records, solved, {"mine": "key"}, **options)


def test_errors_are_averaged_by_kind_beside_published_ones(records):
    found = judged(records)
    header, rows = tables.kinds_table(found)
    assert header[:4] == ["MAE, kcal/mol", "TAE (2)", "BH (1)", "NC (2)"]
    lines = {row[0]: row[1:] for row in rows}
    assert lines["mine"][:3] == ["2.00", "2.00", "0.30"]
    source = board()
    errors = [abs(source.published_errors(source.by_name[n])["wB97M-V"]) for n in ROWS[:2]]
    assert lines["wB97M-V (published)"][0] == tables.number(sum(errors) / 2)
    assert lines["strongest published"][2] == "wB97M-V"  # B3LYP has no dispersion


def test_weighted_total_is_written_out_again(records):
    """56.84 kcal/mol over the mean of the subset: TAE's own, S66 5.47, BH76 18.61."""
    found = judged(records)
    source = board()
    mean = {}
    for name in ("TAE_W4-17nonMR",):
        references = [abs(r.reference) * HARTREE_TO_KCAL for r in source.rows if r.set == name]
        mean[name] = sum(references) / len(references)
    expected = 56.84 * ((1 + 3) / mean["TAE_W4-17nonMR"] + (0.2 + 0.4) / 5.47 + 2 / 18.61) / 5
    assert found.weighted(found.columns[0]) == pytest.approx(expected, rel=1e-9)


def test_trivial_guess_is_the_mean_of_the_training_rows():
    source = board()
    found = judged([record(row, 0.0) for row in ROWS])
    guess = next(c for c in found.columns if c.label == TRIVIAL)
    known = [r.reference for r in source.rows if r.set == "S66" and r.split == "train"]
    reference = source.rows[source.by_name["S66_1"]].reference
    expected = (sum(known) / len(known) - reference) * HARTREE_TO_KCAL
    assert guess.errors["S66_1"] == pytest.approx(expected)


def test_rows_that_did_not_converge_are_left_out_for_all(records):
    records[1] = record(ROWS[1], 0.0, unconverged=["N2 (stalled)"])
    found = judged(records)
    header, rows = tables.kinds_table(found)
    assert header[1] == "TAE (1)" and rows[0][1] == "1.00"
    text = tables.markdown(found)
    assert "N2 (stalled)" in text and "4 of 5 rows" in text


def test_what_is_said_of_states_is_told_once_per_system(records, tmp_path):
    for one in records[:2]:
        one.notes.append("H: an empty orbital lies 0.1 eV below an occupied one")
    found = judged(records)
    assert tables.markdown(found).count("an empty orbital") == 1
    tables.write_csv(tmp_path / "b.csv", found)
    assert (tmp_path / "b.csv").read_text().count("an empty orbital") == 2


def test_rows_learned_from_are_marked_and_averaged_apart(records):
    """HCl by its formula, the barrier by its name; nitrogen and the dimers were never seen."""
    training = Training({"gscdb138:BH76_44"}, {"ClH", "H", "Cl"})
    found = judged(records, training={"mine": training})
    assert found.columns[0].seen == {"TAE_W4-17_118", "BH76_44"}
    _, rows = tables.kinds_table(found)
    apart = next(row for row in rows if row[0] == f"mine {tables.NOT_SEEN}")
    assert apart[1:4] == ["3.00 (1)", "- (0)", "0.30"]
    marked = {row[0] for row in tables.worst_table(found, found.columns[0])[1] if tables.MARK in row[0]}
    assert marked == {f"TAE_W4-17_118 {tables.MARK}", f"BH76_44 {tables.MARK}"}


def test_uncertainty_is_compared_with_the_errors(records):
    """68 % intervals of 1 kcal/mol hold 1.0 and not 3.0, and both errors of the dimers."""
    _, rows = tables.uncertainty_table(judged(records))
    covered = {row[1]: row[3] for row in rows}
    assert covered == {"TAE": "50 %", "NC": "100 %", "BH": "0 %"}
    assert tables.uncertainty_table(judged([record(row, 1.0) for row in ROWS]))[1] == []


def test_cost_is_summed_over_the_systems(records):
    _, ((label, systems, builds, per_system, *_),) = tables.cost_table(judged(records))
    assert (label, systems, builds, per_system) == ("mine", "3", "33", "11.0")


def test_csv_holds_every_row(records, tmp_path):
    found = judged(records)
    tables.write_csv(tmp_path / "b.csv", found)
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert len(lines) == 6 and "wB97M-V (published) error" in lines[0]
    assert next(line for line in lines if line.startswith("S66_8")).split(",")[7] == "0.40000"


def test_page_sorts_filters_and_names_the_kinds(records, tmp_path):
    write_page(tmp_path / "b.html", judged(records), "mine <on> gscdb138", ["basis x"])
    page = (tmp_path / "b.html").read_text()
    assert (
        "mine &lt;on&gt; gscdb138" in page
        and 'id="board-rows"' in page
        and 'data-filter="board-rows"' in page
    )
    assert re.search(r'class="tick middle"[^>]*>TAE<', page) and "wB97M-V, barriers: " in page
    assert page.count("<tr>") > 5 + 4  # rows, sets


def test_unknown_published_functional_is_refused(records):
    with pytest.raises(InputError, match="no values of 'PBE'.*PBE0"):
        judged(records, peers=("PBE",))


def test_entries_of_elsewhere_are_refused():
    from deepchem_dft.data import read_yaml
    from deepchem_dft.molnet import datasets_dir

    with pytest.raises(InputError, match="one board"):
        board_rows(read_yaml(datasets_dir() / "barriers.yaml"))


def test_card_of_the_zoo_tells_what_was_learned():
    """nn-hybrid has learned from W4-11's training part (N2), from atoms, and not from benzene."""
    source, training = board(), training_of_name("zoo:nn-hybrid")
    assert training.has(source, source.by_name["TAE_W4-17_143"]) and not training.missing
    assert not training.has(source, source.by_name["S66_24"])
    assert training_of_name("pbe") == Training()


def test_data_that_is_gone_is_told():
    assert training_of([{"file": "nowhere.yaml"}, "gscdb138:SIE4x4"]).missing == ["{'file': 'nowhere.yaml'}"]


ARGUMENTS = ["board", "--xc", "lda,pw", "--basis", "sto-3g", "--grid-level", "0", "--jobs", "1"]


def test_command_goes_on_where_it_was_stopped(tmp_path):
    keep, runner = tmp_path / "kept.jsonl", CliRunner()
    words = [*ARGUMENTS, "--dataset", "gscdb138:SIE4x4,max_heavy=0", "--keep", str(keep)]
    first = runner.invoke(app, [*words, "--html", str(tmp_path / "b.html")])
    assert first.exit_code == 0, first.output
    lines = keep.read_text().splitlines()
    keep.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while it wrote
    again = runner.invoke(app, words)
    assert again.exit_code == 0, again.output
    table = [line for line in first.output.splitlines() if line.startswith("| lda,pw")]
    assert table and table[0] in again.output.splitlines()
    assert len(keep.read_text().splitlines()) >= len(lines)


def test_published_functionals_can_be_shown_alone(tmp_path):
    """Nothing is solved, so all 70 rows of the choice are there at once; wrong names are told before."""
    words = ["board", "--dataset", "gscdb138:diet=100", "--html", str(tmp_path / "b.html")]
    result = CliRunner().invoke(app, [*words, "--beside", "wB97M-V"])
    assert result.exit_code == 0, result.output
    assert "WTMAD-2, diet of 100" in result.output and "70 rows" in result.output
    line = next(line for line in result.output.splitlines() if line.startswith("| wB97M-V"))
    assert line.split("|")[-2].strip() == "3.43"
    asked = CliRunner().invoke(app, ["board", "--xc", "pbe", "--dataset", "gscdb138", "--beside", "PBE"])
    assert isinstance(asked.exception, InputError) and "no values of 'PBE'" in str(asked.exception)


def test_command_refuses_other_data_sets():
    result = CliRunner().invoke(app, [*ARGUMENTS, "--dataset", "barriers"])
    assert isinstance(result.exception, InputError) and "evaluate" in str(result.exception)


def test_json_holds_averages_and_rows(tmp_path):
    found = CliRunner().invoke(
        app, ["board", "--dataset", "gscdb138:BH46", "--beside", "wB97M-V", "--beside", "B3LYP", "--json"]
    )
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    columns = {one["functional"]: one for one in data["functionals"]}
    assert columns["wB97M-V"]["source"] == "published" and data["board"] == "gscdb138"
    for label in ("wB97M-V", "B3LYP"):
        errors = [abs(row["errors_kcal_mol"][label]) for row in data["rows"]]
        assert columns[label]["mae_of_sets_kcal_mol"]["BH46"] == pytest.approx(sum(errors) / len(errors))
    source = board()
    first = data["rows"][0]
    assert first["reference_kcal_mol"] == pytest.approx(
        source.rows[source.by_name[first["row"]]].reference * HARTREE_TO_KCAL
    )


def test_json_of_computed_functionals(records):
    records[0] = record(ROWS[0], 1.0, unconverged=["C"])
    data = tables.as_data(judged(records, training={"mine": Training(names={f"gscdb138:{ROWS[1]}"})}))
    mine = data["functionals"][0]
    assert (mine["source"], mine["learned_from"], mine["cost"]["systems"]) == ("computed", [ROWS[1]], 3)
    assert mine["unconverged"] == {ROWS[0]: ["C"]} and ROWS[0] not in data["compared"]
    assert data["rows"][1]["errors_kcal_mol"]["mine"] == pytest.approx(-3.0)
    assert data["rows"][1]["uncertainties_kcal_mol"] == {"mine": pytest.approx(1.0)}
