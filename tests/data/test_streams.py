"""Large files piece by piece: the pieces must not show."""

import json
import random
import tracemalloc

import pytest

from deepchem_dft.data.properties import streams
from deepchem_dft.data.properties.streams import csv_rows, json_items
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.reading.sdf import sdf_records

ITEMS = [{"a": ']}, {["\\', "b": [1, {"c": None}]}, 12345678, -1.5e-7, "text, [x", [], {}, True]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrap", [False, True])
def test_json_items_whatever_the_size_of_the_pieces(tmp_path, monkeypatch, chunk, indent, wrap):
    monkeypatch.setattr(streams, "_CHUNK", chunk)
    before = {"links": {"data": [0]}, "number": 17}
    whole = {**before, "data": ITEMS, "meta": {"data": []}} if wrap else ITEMS
    (tmp_path / "x.json").write_text(json.dumps(whole, indent=indent) + "\n")
    assert list(json_items(tmp_path / "x.json", "data")) == ITEMS


@pytest.mark.parametrize("text", ["[]", " [ ] \n", '{"data": []}'])
def test_no_items(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert list(json_items(tmp_path / "x.json", "data")) == []


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_file_cut_anywhere_is_an_error(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(streams, "_CHUNK", chunk)
    text = json.dumps({"links": 1, "data": [{"a": 1}, "b", 33], "meta": {"x": "y"}})
    for size in range(len(text)):
        (tmp_path / "x.json").write_text(text[:size])
        with pytest.raises(InputError) as caught:
            list(json_items(tmp_path / "x.json", "data"))
        assert caught.value.file.endswith("x.json") and caught.value.field == "data", size


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1, 2] 3", "something follows the end"),
        ("[1,, 2]", "entry 2.*no valid JSON"),
        ("[1 2]", "entry 2.*',' or ']'"),
        ('[{"a" 1}]', "entry 1.*no valid JSON"),
        ("17", "begins with '1'"),
        ('{"items": []}', "has no 'data'"),
        ('{"data": 5}', "'\\['"),
    ],
)
def test_malformed_json(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=message):
        list(json_items(tmp_path / "x.json", "data"))


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK", 1 << 16)
    path = tmp_path / "x.json"
    with open(path, "w") as stream:
        stream.write("[" + ",".join([json.dumps({"x": "y" * 5000})] * 2000) + "]")
    tracemalloc.start()
    assert sum(1 for _ in json_items(path)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 10e6 and peak < 1e6


def test_malformed_json_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK", 1000)
    monkeypatch.setattr(streams, "_LONGEST", 5000)
    (tmp_path / "x.json").write_text('[{"a": 1}, {"b" ' + "1, " * 100_000)
    with pytest.raises(InputError, match="entry 2.*no valid JSON"):
        list(json_items(tmp_path / "x.json"))


def test_csv_rows_with_quotes_and_blank_lines(tmp_path):
    (tmp_path / "x.csv").write_text('a,b\r\n"1,2","3 ""4"""\r\n\r\n5,6\r\n')
    rows = list(csv_rows(tmp_path / "x.csv", ["b"]))
    assert rows == [(2, {"a": "1,2", "b": '3 "4"'}), (4, {"a": "5", "b": "6"})]


def test_sdf_tags_of_several_lines_and_records_without_tags():
    block = "name\n  program\n\n  0  0  0  0  0  0            999 V2000\nM  END\n"
    text = block + "> 25 <A:B> (1)\nfirst\nsecond\n\n>  <EMPTY>\n\n\n$$$$\r\n" + block + "$$$$\n" + block
    first, second, last = sdf_records(text.splitlines(keepends=True), "x.sdf")
    assert first.tags == {"A:B": "first\nsecond", "EMPTY": ""}
    assert (second.tags, second.number, last.number, last.title) == ({}, 2, 3, "name")
    assert first.block == block
    with pytest.raises(InputError, match="x.sdf, entry 2 .name., field 'C:D': the tag is missing"):
        second.tag("C:D")


def test_sdf_cut_anywhere_is_an_error_or_a_whole_record():
    rng = random.Random(0)
    block = "name\n\n\n  0  0  0  0  0  0            999 V2000\nM  END\n"
    text = block + ">  <A>\n12345\n\n$$$$\n"
    for size in rng.sample(range(10, len(text) - 1), 40):
        try:
            records = list(sdf_records(text[:size].splitlines(), "x.sdf"))
        except InputError as error:
            assert "cut off" in error.problem
        else:  # nothing of the tag is there yet, or all of it
            assert [r.tags for r in records] in ([{}], [{"A": "12345"}])
