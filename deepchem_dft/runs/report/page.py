"""Putting the report together: one file with its style and script inside."""

import base64
import datetime
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deepchem_dft.files import write
from deepchem_dft.runs.report import figures, sections, tables
from deepchem_dft.runs.report.enhancement import factors_of
from deepchem_dft.runs.report.markup import Html, bullets, join, section, tag
from deepchem_dft.runs.report.reading import TRAINED, RunData, read_runs
from deepchem_dft.runs.report.scores import Scores, collect, colours_of, names_of
from deepchem_dft.runs.tables import verdict


@dataclass
class Report:
    """A report that was written.

    Attributes
    ----------
    path : Path
    notes : list of str
        What is missing in it, and why.
    """

    path: Path
    notes: list[str]


def write_report(
    runs: Sequence[str | Path],
    to: str | Path,
    title: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Write a report on run directories: one HTML file that loads nothing else.

    Parameters
    ----------
    runs : list of path
        Run directories of any kind, finished or not. Several are compared side by side.
    to : path
        The file; an older one is replaced when the new one is whole.
    title : str, optional
        Default: the runs' names.
    progress : callable, optional
        Told what is being done.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If a folder is not a run directory.
    """
    tell = progress or (lambda text: None)
    found = read_runs(runs)
    html, notes = page(found, title or ", ".join(run.label for run in found), tell)
    write(to, html.encode("utf-8", "replace"))  # half a character may come out of JSON
    return Report(Path(to), notes)


def page(
    runs: Sequence[RunData], title: str, tell: Callable[[str], None] = lambda text: None
) -> tuple[Html, list[str]]:
    """Return the page and notes on what is missing in it."""
    tell("reading tables")
    scores, notes = collect(runs), list[str]()
    names, colours = names_of(runs), colours_of(runs)
    parity, curves = figures.parity(scores, colours), figures.dissociation(runs)
    learning = figures.learning_curves(runs)
    errors = [chart for chart in parity if not chart.diagonal]
    parts = _answer(runs, scores, names, [*errors, *curves, *learning][:1])
    parts.append(("runs", "Runs", sections.summary(runs)))
    parts += _errors(scores, parity)
    if curves:
        parts.append(("curves", "Dissociation", _charts(curves)))
    matrices = {
        run.label: tables.matrices(run, f"molecules-{number}")
        for number, run in enumerate(runs)
        if run.kind in ("hamiltonian", "deq")
    }
    heading = "Matrices" if all(run.kind != "deq" for run in runs) else "Errors by set"
    parts += _each(runs, "matrices", heading, lambda run: matrices.get(run.label))
    if learning:
        parts.append(("learning", "Learning curve", _charts(learning)))
    enhanced = {run.label: _enhancement(run, notes, tell) for run in runs if run.kind == "xc"}
    parts += _each(runs, "enhancement", "Enhancement", lambda run: enhanced.get(run.label))
    parts += _each(
        runs,
        "convergence",
        "Convergence",
        lambda run: sections.convergence(run, _own(colours, names, run)) if run.solutions else None,
    )
    pictures = {run.label: sections.images(run) for run in runs}
    parts += _each(runs, "figures", "Figures", lambda run: pictures[run.label] or None)
    parts += _each(runs, "data", "Data", sections.data)
    parts.append(("configuration", "Configuration", sections.configuration(runs)))
    parts.append(("versions", "Versions and seed", sections.versions(runs)))
    notes += [f"{run.label}: {problem}" for run in runs for problem in run.problems]
    notes += [f"{run.label}: the run has no results yet" for run in runs if not (run.entries or run.results)]
    return document(title, parts, notes), notes


def _own(colours: dict[str, int], names: dict[tuple[str, str], str], run: RunData) -> dict[str, int]:
    """Return the colours of a run's functionals under the names that the run itself uses."""
    return {functional: colours[name] for (label, functional), name in names.items() if label == run.label}


def _answer(
    runs: Sequence[RunData],
    scores: Scores,
    names: dict[tuple[str, str], str],
    charts: Sequence[figures.Chart],
) -> list[tuple[str, str, Html]]:
    """Return what everybody wants to know first: is it better, by how much; and one figure of it."""
    rows = [row for keys in scores.groups().values() for row in scores.summaries(keys)]
    said = []
    for run in runs:
        own, parent = (names.get((run.label, name)) for name in (TRAINED, sections.parent_label(run)))
        if own and parent:
            said += [tag("strong", own, ": ", line) for line in verdict(rows, own, parent)]
    table = tables.overview(scores)
    whole = [tables.plain_rows(run.results) for run in runs if run.results and not scores.records]
    if not (said or table or whole):
        return []
    drawn = _charts(charts) if charts else None
    return [("answer", "Answer", join([bullets(said) if said else None, table, *whole, drawn]))]


def _errors(scores: Scores, charts: Sequence[figures.Chart]) -> list[tuple[str, str, Html]]:
    if not scores.records:
        return []
    found = [("errors", "Errors", tables.error_tables(scores))]
    if charts:
        hint = tag(
            "p",
            "Point at a mark, or touch it, to see the molecule; press a name in a legend to hide it.",
            class_="aside script",
        )
        found.append(("parity", "Parity", join([hint, _charts(charts)])))
    found.append(("molecules", "Molecules", tables.entry_table(scores)))
    return found


def _enhancement(run: RunData, notes: list[str], tell: Callable[[str], None]) -> Html:
    tell(f"enhancement factors of {run.label}")
    found = factors_of(run)
    if isinstance(found, str):
        notes.append(f"{run.label}: no enhancement factors, {found}")
        return tag("p", f"Not shown: {found}")
    words = ["Of a closed shell. "]
    if found.parent:
        words.append(f"Dashed: the parent, {found.parent}. ")
    if found.exchange:
        share = f"{100 * found.exchange:.1f} %"
        replaced = f"Exact exchange takes the place of {share} of the exchange in the curves."
        words.append(replaced if found.whole else f"Exact exchange ({share}) is not in the curves.")
    return join([tag("p", *words), _charts(figures.enhancement(found))])


def _charts(charts: Sequence[figures.Chart]) -> Html:
    return tag("div", *(chart.figure() for chart in charts), class_="charts")


def _each(
    runs: Sequence[RunData], ident: str, title: str, content: Callable[[RunData], Html | None]
) -> list[tuple[str, str, Html]]:
    """Return a section with a part for each run that has one."""
    found = [(run.label, content(run)) for run in runs]
    found = [(label, one) for label, one in found if one is not None]
    if not found:
        return []
    if len(runs) == 1:
        return [(ident, title, join(one for _, one in found))]
    return [(ident, title, join(join([tag("h3", label), one]) for label, one in found))]


def document(title: str, parts: Sequence[tuple[str, str, Html]], notes: Sequence[str]) -> Html:
    """Return a page of sections (name of the anchor, heading, content), with notes at its top."""
    from deepchem_dft import __version__

    style, script = _static("report.css"), _static("report.js")
    # Nothing but this very style and script, and pictures inside the file, is ever loaded or run.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style)),
    )
    links = [tag("a", name, href=f"#{ident}") for ident, name, _ in parts]
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", title),
            tag("p", f"Report of deepchem_dft {__version__}, {now}", class_="aside"),
            *(tag("p", note, class_="note") for note in notes),
        ),
        tag("nav", *links, aria_label="Sections"),
        tag("main", *(section(ident, name, content) for ident, name, content in parts)),
        tag("div", id="tip", role="status", hidden=True),
        tag("script", Html(script)),
    )
    return Html("<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n")


def _static(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
