"""TensorBoard in a real browser: while a study runs, after it and after three, every tab shows
something before anybody has clicked."""

import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, sync_playwright
from synthetic import OPTIMIZERS, make_records
from test_page_browser import AS_ROOT, CHROMIUM

from study.space.search_space import load_space
from study.tensorboard.event_folder import EventFolder
from study.tensorboard.hparams_columns import RUN

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium or Chrome is installed (Debian: apt install chromium)",
)
PATIENCE = 30.0  # seconds
RUNNING = [f"{name} until look 1 of 5" for name in OPTIMIZERS]
STUDIES = ("first", "second", "third")


def begin(logs: Path, study: str) -> EventFolder:
    """A study after its first repeat's searches."""
    png = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(png, "PNG")
    records = make_records(list(OPTIMIZERS), repeats=1, trials=9)
    events = EventFolder.recreate(logs / study / "tensorboard", load_space("default"))
    events.show_text("search/plan", [f"what {study} does"])
    events.show_image("data/training_images", png.getvalue())
    events.begin("look 1 of 5", {})
    events.write(record for record in records if record.confirm is None)
    return events


def finish(events: EventFolder) -> None:
    events.write(make_records(list(OPTIMIZERS), repeats=1, trials=9))
    events.end((), {})


class Server:
    """TensorBoard over one folder, in which a study has begun."""

    def __init__(self, logs: Path, events: EventFolder) -> None:
        self.events = events
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
        command += ["--port", "0", "--host", "127.0.0.1", "--reload_interval", "1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        lines = iter(self.process.stderr.readline, "")
        self.address = next(word for line in lines for word in line.split() if "http://" in word)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"{self.address}data/{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def wait_for(self, runs: set[str]) -> None:
        end = time.monotonic() + PATIENCE
        while set(self.ask("runs")) != runs:
            assert time.monotonic() < end, sorted(runs ^ set(self.ask("runs")))
            time.sleep(0.2)

    def rows(self) -> list[set[str]]:
        """The studies in each row of the HParams table."""
        wanted = {"experimentName": "", "colParams": [], "startIndex": 0, "sliceSize": 1000}
        states = ("SUCCESS", "FAILURE", "RUNNING", "UNKNOWN")
        wanted["allowedStatuses"] = [f"STATUS_{state}" for state in states]
        found = self.ask("plugin/hparams/session_groups", wanted)["sessionGroups"]
        return [{one["name"].split("/")[0] for one in group["sessions"]} for group in found]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=not AS_ROOT)
        yield opened
        opened.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path, begin(tmp_path, STUDIES[0]))
    with started.process:
        yield started
        started.process.terminate()


def assert_all_tabs_show_something(browser: Browser, server: Server, studies: set[str]) -> None:
    """Open TensorBoard as somebody does who never was there, and go from tab to tab."""
    with browser.new_context(viewport={"width": 1500, "height": 1000}) as context:
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)

        def first_of(selector: str, tab: str) -> Locator:
            page.goto(f"{server.address}#{tab}")
            found = page.locator(selector)
            found.first.wait_for(state="visible")
            return found

        # a card's table has a line for each run that is drawn
        drawn = first_of("scalar-card tb-data-table-content-row", "timeseries").all_inner_texts()
        for study in studies:
            assert any(f"{study}/tensorboard/adam" in line for line in drawn)
        first_of("tf-scalar-card path.line", "scalars")
        picture = first_of("tf-image-loader img", "images").first
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
        first_of(f"text='what {min(studies)} does'", "text")
        first_of("vaadin-grid-cell-content >> text='adam'", "hparams")
        first_of("vaadin-grid-cell-content >> text=/^adam( until|, first)/", "hparams")


def test_every_tab_shows_something_at_first_sight(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    """Of a running study, and of three finished ones."""
    server.wait_for({f"first/tensorboard/{run}" for run in (*RUNNING, "report")} | {RUN})
    assert_all_tabs_show_something(browser, server, {"first"})
    finish(server.events)
    server.wait_for({f"first/tensorboard/{run}" for run in (*OPTIMIZERS, "report")} | {RUN})
    for study in STUDIES[1:]:
        finish(begin(tmp_path, study))
    server.wait_for(
        {f"{study}/tensorboard/{run}" for study in STUDIES for run in (*OPTIMIZERS, "report")}
        | {RUN}
    )
    assert_all_tabs_show_something(browser, server, set(STUDIES))
    rows = server.rows()
    assert len(rows) == 36 and all(len(studies) == 1 for studies in rows)
