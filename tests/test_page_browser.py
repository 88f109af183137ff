"""report.html in a real browser: no errors, sorting works, names stay text, it fits and prints."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright
from synthetic import write_study

from study.report import main

NAMES_OF_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES_OF_CHROMIUM)), None)
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium or Chrome is installed (Debian: apt install chromium)",
)
EVIL = "<script>document.title='broken'</script>"
NAMES = ["adam", "sgd", "<img src=x onerror=\"document.title='broken'\">"]
RANKING, TRIALS = "table.sortable >> nth=0", ".trials table"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    write_study(logs, NAMES, classes=[EVIL, "b", "c"], meta={"name": "s"}, repeats=2, trials=9)
    assert main(["--logs", str(logs)]) == 0
    return logs / "s" / "report" / "report.html"


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=not AS_ROOT,  # Chromium refuses to start its sandbox as root
        )
        yield browser.new_context()
        browser.close()


@pytest.fixture
def page(context: BrowserContext, report: Path) -> Iterator[Page]:
    with context.new_page() as opened:
        opened.goto(report.as_uri())
        yield opened


def test_the_page_renders_without_an_error_in_the_console(page: Page) -> None:
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.reload()
    sizes = page.locator("img").evaluate_all("all => all.map(i => i.complete && i.naturalWidth)")
    assert len(sizes) >= 8 and all(sizes)
    assert errors == []


def test_the_page_asks_for_nothing_but_itself(page: Page, report: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    assert [url for url in asked if not url.startswith("data:image/png")] == [report.as_uri()]


@pytest.mark.parametrize(
    ("tag", "attribute", "value", "directive"),
    [
        ("script", "text", "document.title = 'broken'", "script-src-elem"),
        ("img", "src", "https://example.org/x.png", "img-src"),
        ("iframe", "src", "https://example.org/", "frame-src"),
    ],
)
def test_the_policy_stops_what_is_not_of_the_page(
    page: Page, tag: str, attribute: str, value: str, directive: str
) -> None:
    stopped = page.evaluate(
        """([tag, attribute, value]) => new Promise(stopped => {
          document.addEventListener("securitypolicyviolation", e => stopped(e.effectiveDirective));
          setTimeout(() => stopped("nothing"), 5000);
          document.body.append(Object.assign(document.createElement(tag), {[attribute]: value}));
        })""",
        [tag, attribute, value],
    )
    assert stopped == directive and page.title() == "s"


def test_names_with_markup_stay_text(page: Page) -> None:
    assert page.title() == "s"
    assert page.locator("script").count() == 1
    assert page.locator("img[src=x]").count() == 0
    assert NAMES[2] in page.locator("body").inner_text()


def column(page: Page, table: str, place: int) -> list[str]:
    cells = page.locator(table).locator(f"tbody td:nth-child({place + 1})")
    return [text.strip() for text in cells.all_text_contents()]


def click(page: Page, table: str, place: int) -> str | None:
    """Click a column's head; returns its aria-sort."""
    head = page.locator(table).locator("th").nth(place)
    head.locator("button").click()
    return head.get_attribute("aria-sort")


def test_a_click_sorts_numbers_as_numbers_and_empty_cells_last(page: Page) -> None:
    heads = page.locator(f"{TRIALS} th").all_inner_texts()
    for name in ("epochs", "val acc", "test acc"):
        place = heads.index(name)
        assert click(page, TRIALS, place) == "ascending"
        up = column(page, TRIALS, place)
        assert click(page, TRIALS, place) == "descending"
        down = column(page, TRIALS, place)
        known = [float(text) for text in up if text not in ("", "–")]
        assert known == sorted(known) and len(known) >= 9
        assert [float(text) for text in down[: len(known)]] == known[::-1]
        assert set(up[len(known) :]) <= {"", "–"}
    assert page.locator(f"{TRIALS} th[aria-sort]").count() == 1


def test_text_sorts_by_the_alphabet_and_the_keyboard_works(page: Page) -> None:
    page.locator(RANKING).locator("th button").first.press("Enter")
    assert column(page, RANKING, 0)[1:] == ["adam", "sgd"]


def test_nothing_is_wider_than_a_telephone_but_what_scrolls(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("scheme", "letters_are_light"), [("light", False), ("dark", True)])
def test_dark_mode_has_light_letters_on_dark_ground(
    page: Page, scheme: Literal["light", "dark"], letters_are_light: bool
) -> None:
    page.emulate_media(color_scheme=scheme)
    colours = page.locator("body").evaluate(
        "body => [getComputedStyle(body).color, getComputedStyle(body).backgroundColor]"
    )
    ink, ground = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert (ink > ground) == letters_are_light and abs(ink - ground) > 400


def test_it_prints_without_the_long_table_of_trials(page: Page) -> None:
    assert page.pdf().startswith(b"%PDF")
    assert page.locator(".trials").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".trials").is_hidden()
