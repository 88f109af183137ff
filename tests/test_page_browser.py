"""report.html in a real browser: no errors, sorting works, names stay text, it fits and prints."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser, find_browser
from synthetic import write_study

from study.report import main

pytestmark = pytest.mark.skipif(
    find_browser() is None,
    reason="no Chromium or Chrome is installed (Debian: apt install chromium)",
)
EVIL = "<script>document.title='broken'</script>"
NAMES = ["adam", "sgd", "<img src=x onerror=\"document.title='broken'\">"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    write_study(logs, NAMES, classes=[EVIL, "b", "c"], meta={"name": "s"}, repeats=2, trials=9)
    assert main(["--logs", str(logs)]) == 0
    return logs / "s" / "report" / "report.html"


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(report)
        yield opened


def test_the_page_renders_without_an_error_in_the_console(page: Page) -> None:
    broken = "Array.from(document.images).filter(i => !i.complete || !i.naturalWidth).length"
    assert page.run("document.images.length") >= 8
    assert page.run(broken) == 0
    assert page.errors == []


def test_names_with_markup_stay_text(page: Page) -> None:
    assert page.run("document.title") == "s"
    assert page.run("document.querySelectorAll('script').length") == 1
    assert page.run("document.querySelectorAll('img[src=x]').length") == 0
    assert NAMES[2] in page.run("document.body.innerText")


def column(page: Page, table: str, place: int) -> list[str]:
    return page.run(
        f"Array.from(document.querySelector('{table}').tBodies[0].rows,"
        f" row => row.cells[{place}].textContent.trim())"
    )


def click(page: Page, table: str, place: int) -> str:
    """Click a column's head; returns its aria-sort."""
    head = f"document.querySelector('{table}').tHead.rows[0].cells[{place}]"
    page.run(f"{head}.querySelector('button').click()")
    return page.run(f"{head}.getAttribute('aria-sort')")


def test_a_click_sorts_numbers_as_numbers_and_empty_cells_last(page: Page) -> None:
    table = ".trials table"
    heads = page.run(
        f"Array.from(document.querySelector('{table}').tHead.rows[0].cells, c => c.innerText)"
    )
    for name in ("val acc", "test acc"):
        place = heads.index(name)
        assert click(page, table, place) == "ascending"
        up = column(page, table, place)
        assert click(page, table, place) == "descending"
        down = column(page, table, place)
        known = [float(text) for text in up if text not in ("", "–")]
        assert known == sorted(known) and len(known) >= 9
        assert [float(text) for text in down[: len(known)]] == known[::-1]
        assert set(up[len(known) :]) <= {"", "–"}
    assert page.run("document.querySelectorAll('.trials th[aria-sort]').length") == 1


def test_text_sorts_by_the_alphabet_and_the_keyboard_works(page: Page) -> None:
    button = (
        "document.querySelector('table.sortable').tHead.rows[0].cells[0].querySelector('button')"
    )
    page.run(f"{button}.focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r")
    assert column(page, "table.sortable", 0)[1:] == ["adam", "sgd"]


def test_nothing_is_wider_than_a_telephone_but_what_scrolls(page: Page) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.call("Emulation.clearDeviceMetricsOverride")


def test_dark_mode_has_light_letters_on_dark_ground(page: Page) -> None:
    colours = (
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    for scheme, letters_are_light in (("light", False), ("dark", True)):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=features)
        ink, ground = (sum(map(int, c[4:-1].split(","))) for c in page.run(colours))
        assert (ink > ground) == letters_are_light and abs(ink - ground) > 400
    page.call("Emulation.setEmulatedMedia", features=[])


def test_it_prints_without_the_long_table_of_trials(page: Page) -> None:
    pdf = base64.b64decode(page.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(document.querySelector('.trials')).display") == "none"
    page.call("Emulation.setEmulatedMedia", media="")
