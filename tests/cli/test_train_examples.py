"""``train --example``: configurations by name, with changes, from any folder."""


def test_an_example_with_changes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = ["training.epochs=1", "training.seed=5"]
    outcome = command("train", "--example", "ksr/h2_local", *changes, "training.nothing=3")
    assert outcome.status == 1 and "nothing" in outcome.err  # all of them are read as changes
    assert "no example" in command("train", "--example", "h2_locl").err
    names = command("train", "--examples").out.split()
    assert "ksr/h2_local" in names and "train_pbe_mgga" in names


def test_a_file_of_a_checkout_that_is_not_here(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("train", "examples/train_pbe_mgga.yaml")
    assert outcome.status == 1 and "--example train_pbe_mgga" in outcome.err
    assert "--example" in command("train").err
