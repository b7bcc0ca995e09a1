"""From a run directory, or a model of the zoo, to two files that others can use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.runs.base import open_run
from deepchem_dft.runs.card import cost_of, training_of
from deepchem_dft.runs.rows import read_json
from deepchem_dft.xc.ranges import hold_omega

if TYPE_CHECKING:
    from deepchem_dft.zoo import Card


def export(source: str | Path, to: str | Path, summary: str | None = None) -> Card:
    """Write the model of a finished run, or of the zoo, to a file of weights and a card.

    Parameters
    ----------
    source : str or Path
        Run directory, name in the zoo, or file.
    to : path
        NAME.safetensors, or a folder; the card NAME.json is written beside it. In a folder the
        name is that of the section ``card`` of the run, else of the run.
    summary : str, optional
        One sentence for the card. Default: the run's description, or as on the other card.

    Returns
    -------
    Card

    Raises
    ------
    InputError
        If there is no such run or model, or it cannot be written down as data.
    """
    from deepchem_dft import zoo

    if os.path.isdir(source):
        return export_run(source, to, summary)
    old = zoo.card(source)
    known = {
        name: value
        for name, value in old.to_dict().items()
        if name not in ("format", "name", "kind", "form", "weights")
    }
    return zoo.save(zoo.load(source), _file(to, old.name), **{**known, "summary": summary or old.summary})


def export_run(run: str | Path, to: str | Path, summary: str | None = None) -> Card:
    """Write the model of a finished run; its tables, and its section ``card``, go on the card."""
    from deepchem_dft import zoo

    done = open_run(run)
    config, model, directory = done.config, done.model(), done.directory
    said, found = config.card, done.card()
    known: dict[str, Any] = {
        **found,
        "summary": summary or said.summary or config.description,
        "training": training_of(directory, config),
        "cost": cost_of(directory),
        "versions": read_json(directory / "versions.json"),
        "seed": config.training.seed,
    }
    for name in ("worse_than_parent", "known_failures", "out_of_scope"):
        known[name] = [*getattr(said, name), *found.get(name, [])]
    if done.is_functional:
        hold_omega(model.functional)  # whoever gets the file wants one range, not those of training
    return zoo.save(
        model.functional if done.is_functional else model, _file(to, said.name or config.name), **known
    )


def _file(to: str | Path, name: str) -> Path:
    """Return where a model goes: a file, or a file of its name in a folder."""
    return Path(to) / f"{name}.safetensors" if os.path.isdir(to) else Path(to)
