"""The report in a real browser: no errors, no requests, tables that sort, charts that answer."""

import base64
import csv
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepchem_dft.runs.report import write_report

pytestmark = pytest.mark.browser
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
#: Seconds without an answer that are a hang, however busy the machine.
_PATIENCE = 3600.0
#: Desktop and phone: width and height in CSS pixels.
DESKTOP, PHONE = (1280, 900), (390, 844)
#: Scroll to a point of the parity chart and give its place.
_POINT = """(async () => {
    const p = document.querySelector('#parity svg[role=img] .point');
    p.scrollIntoView({block: 'center'});
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    const b = p.getBoundingClientRect();
    return [b.x + b.width / 2, b.y + b.height / 2];
})()"""


class Browser:
    """Headless Chromium, spoken to in its own protocol over a pair of pipes."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (to_browser, from_browser)]

        def place() -> None:  # in the child: Chromium reads from descriptor 3 and writes to 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        silent = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=place,
            pass_fds=(3, 4),
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
        for end in high:
            os.close(end)
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._read, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._in, 1 << 20) if ready else b""
            assert piece, "the browser does not answer"
            self._read += piece
        first, _, self._read = self._read.partition(b"\0")
        return json.loads(first)

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        with_it = (self._in, self._out)
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            self.process.kill()
        self.process.wait()
        for descriptor in with_it:
            os.close(descriptor)

    def open(self, file: Path, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        """Load a file in a window of this size."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=file.resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """Return what JavaScript gives."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, to: Path, whole: bool = True) -> None:
        """Save a screenshot."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        to.write_bytes(base64.b64decode(found["data"]))

    def of(self, *methods: str) -> list[dict[str, Any]]:
        """Return the parameters of events of these methods since the page was opened."""
        return [e["params"] for e in self.events if e.get("method") in methods]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(_NAMES)} is installed")
    started = Browser(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    """The report on a finished run."""
    to = tmp_path_factory.mktemp("report") / "report.html"
    return write_report([finished[1].directory.path], to).path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_opens_without_errors_or_requests(browser, report, tmp_path, size, dark):
    browser.open(report, size, dark)
    assert browser.of("Runtime.exceptionThrown") == []
    assert [e for e in browser.of("Log.entryAdded") if e["entry"]["level"] == "error"] == []
    assert [e for e in browser.of("Runtime.consoleAPICalled") if e["type"] == "error"] == []
    requests = [e["request"]["url"] for e in browser.of("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    assert browser.value("document.documentElement.classList.contains('scripted')")
    # Wide tables scroll inside the page; the page itself does not scroll sideways.
    assert browser.value("document.documentElement.scrollWidth") <= size[0]
    back = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back.strip("rgb()").split(","))) < 200) == dark
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_tables_use_the_width_and_say_what_scrolls(browser, report):
    boxes = "[...document.querySelectorAll('.scroll')].filter((b) => b.offsetParent)"
    narrow = f"{boxes}.filter((b) => b.firstChild.offsetWidth < b.clientWidth - 1).length"
    browser.open(report, DESKTOP)
    assert browser.value(narrow) == 0
    browser.open(report, PHONE)
    wider = f"{boxes}.filter((b) => b.scrollWidth > b.clientWidth + 4)"
    assert browser.value(f"{wider}.length") > 0
    assert browser.value(f"{wider}.every((b) => b.classList.contains('wider'))")
    said = f"getComputedStyle({wider}[0], '::before').content"
    assert "sideways" in browser.value(said)
    browser.value(f"(() => {{ const b = {wider}[0]; b.scrollLeft = b.scrollWidth; }})()")
    gone = f"new Promise((r) => setTimeout(() => r({wider}[0].classList.contains('wider')), 200))"
    assert browser.value(gone) is False


def test_text_of_the_data_runs_nothing(browser, tmp_path):
    """Names of entries that would be scripts, were they not escaped; shown by tips, too."""
    evil = "<img src=x onerror='window.taken = 1'><script>window.taken = 1</script>"
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(json.dumps({"name": evil, "description": evil}))
    (run / "entries.csv").write_text(
        "functional,role,set,entry,type,reference,value,unit,error_kcal_per_mol,unconverged\n"
        f"pbe,test,a,{evil},ae,0.1,0.2,hartree,62.75,\n"
    )
    browser.open(write_report([run], tmp_path / "report.html").path)
    point = browser.value(_POINT)
    browser.move(*point)
    assert evil in browser.value("document.getElementById('tip').textContent")
    assert browser.value("window.taken === undefined")
    assert browser.of("Log.entryAdded", "Runtime.exceptionThrown") == []


def _column(browser, name: str) -> list[str]:
    return browser.value(
        "(() => { const t = document.getElementById('entries');"
        f"const i = [...t.tHead.rows[0].cells].findIndex((c) => c.textContent === '{name}');"
        "return [...t.tBodies[0].rows].filter((r) => !r.hidden)"
        ".map((r) => r.cells[i].dataset.v); })()"
    )


def _press(browser, name: str) -> None:
    assert browser.value(
        "(() => { const b = [...document.querySelectorAll('#entries thead button')]"
        f".find((b) => b.textContent === '{name}'); b.click(); return true; }})()"
    )


def test_tables_sort_by_number_and_name(browser, report):
    browser.open(report)
    before = _column(browser, "trained")
    for wanted in (sorted, lambda values: sorted(values, reverse=True)):
        _press(browser, "trained")
        numbers = [float(v) for v in _column(browser, "trained")]
        assert numbers == wanted(numbers) and sorted(map(float, before)) == sorted(numbers)
    _press(browser, "entry")
    names = _column(browser, "entry")
    assert names == sorted(names, key=str.lower)
    sorted_by = browser.value("document.querySelectorAll('#entries [aria-sort]').length")
    assert sorted_by == 1


def test_rows_keep_together_when_sorted(browser, report, finished):
    """After sorting, each row's numbers are still those of its molecule in entries.csv."""
    browser.open(report)
    _press(browser, "pbe")
    with open(finished[1].directory / "entries.csv", newline="") as stream:
        known = {(r["entry"], r["functional"]): r["error_kcal_per_mol"] for r in csv.DictReader(stream)}
    for name in ("lda", "pbe", "trained"):
        for entry, shown in zip(_column(browser, "entry"), _column(browser, name)):
            assert shown == known[entry, name]


def test_filter_keeps_rows_with_all_words(browser, report):
    browser.open(report)
    total = len(_column(browser, "entry"))

    def search(words: str) -> list[str]:
        browser.value(
            "(() => { const b = document.querySelector('[data-filter=entries]');"
            f"b.value = '{words}'; b.dispatchEvent(new Event('input')); }})()"
        )
        return _column(browser, "entry")

    assert search("LIH") == ["tiny:LiH"]
    assert browser.value("document.querySelector('output').textContent") == f"1 of {total}"
    assert sorted(search("train ie")) == ["tiny:He"]
    assert search("nothing like it") == []
    assert len(search("")) == total == 4


def test_charts_are_there_and_have_curves(browser, report):
    browser.open(report)
    titles = browser.value(
        "[...document.querySelectorAll('figure.chart figcaption')].map((c) => c.textContent)"
    )
    for words in ("Parity", "H2 dissociation", "Loss", "Fx (limit", "Self-consistent after"):
        assert any(words in title for title in titles), (words, titles)
    empty = browser.value(
        "[...document.querySelectorAll('figure.chart')].filter((f) => {"
        "const b = f.querySelector('svg .series').getBBox();"
        "return !(b.width + b.height > 5) || f.querySelector('svg').clientWidth < 200; })"
        ".map((f) => f.textContent)"
    )
    assert empty == []
    outside = browser.value(
        "[...document.querySelectorAll('figure.chart svg[role=img] .point')].filter((p) => {"
        "const b = p.getBBox(); return b.x < 40 || b.x + b.width > 441 || b.y < -1 "
        "|| b.y + b.height > 300; }).length"
    )
    assert outside == 0


def test_pointing_at_a_mark_says_which_molecule(browser, report):
    browser.open(report)
    browser.move(*browser.value(_POINT))
    assert browser.value("document.getElementById('tip').hidden") is False
    shown = browser.value("document.getElementById('tip').textContent")
    assert "tiny:" in shown and "kcal/mol" in shown
    browser.move(5, 300)
    assert browser.value("document.getElementById('tip').hidden") is True


def test_legend_hides_a_curve(browser, report):
    browser.open(report)
    drawn = browser.value(
        "(() => { const f = document.querySelector('#curves figure.chart');"
        "const g = f.querySelector('g[data-series=\"0\"]'), b = f.querySelector('.legend button');"
        "const look = () => getComputedStyle(g).display; const out = [look()];"
        "b.click(); out.push(look()); b.click(); out.push(look()); return out; })()"
    )
    assert drawn[0] == drawn[2] != "none" and drawn[1] == "none"
