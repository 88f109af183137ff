"""report.html in a real browser: it loads, fits, can be read and sorted; names stay text."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright
from synthetic import write_study

from study.common.plot_look import contrast
from study.common.text import plain, points
from study.report import main
from study.report.analysis.summary import load_study
from study.report.html import page as page_of

NAMES_OF_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES_OF_CHROMIUM)), None)
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium or Chrome is installed (Debian: apt install chromium)",
)
EVIL = "<script>document.title='broken'</script>"
NAMES = ["adam", "sgd", "<img src=x onerror=\"document.title='broken'\">"]
RANKING, TRIALS, ROBUSTNESS = "#ranking table", "#runs table", "#robustness-and-cost table"
WIDTHS = (390, 768, 1280)
UNFOLD = "document.querySelectorAll('details').forEach(part => part.open = true)"
# Colour and ground of every text; text on the coloured cells of a figure is black or white.
TEXTS = """() => [...new Set([...document.querySelectorAll("body :not(script, title)")]
  .filter(part => [...part.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(part => {
    const ink = getComputedStyle(part)[part.localName === "text" ? "fill" : "color"];
    let ground = part;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)")
      ground = ground.parentElement;
    return [ink, getComputedStyle(ground).backgroundColor].join("; ");
  }))].filter(pair => !/^rgb\\((0, 0, 0|255, 255, 255)\\)/.test(pair))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    write_study(logs, NAMES, classes=[EVIL, "b", "c"], meta={"name": "s"}, repeats=5, trials=9)
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
    assert page.locator("figure svg").count() >= 8
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
    first = page.locator("h1").inner_text()
    assert first == "s: 3 optimizers on 30 images, 3 classes (built-in faces)"
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


@pytest.mark.parametrize(
    ("table", "name"), [(RANKING, "diverged"), (ROBUSTNESS, "diverged, 95 % CI (%)")]
)
def test_fractions_and_intervals_sort_by_their_first_number(
    page: Page, table: str, name: str
) -> None:
    page.evaluate(UNFOLD)
    place = page.locator(table).locator("th").all_inner_texts().index(name)
    for down in (False, True):
        click(page, table, place)
        first = [float(re.split("/|–", text)[0]) for text in column(page, table, place)]
        assert first == sorted(first, reverse=down) and len(first) == 3


def test_a_click_sorts_numbers_as_numbers_and_empty_cells_last(page: Page) -> None:
    page.evaluate(UNFOLD)
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


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_but_what_scrolls(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("study", ["twelve optimizers", "rows"])
def test_on_a_laptop_only_the_list_of_runs_scrolls_sideways(
    context: BrowserContext, tmp_path: Path, study: str
) -> None:
    folder = Path(__file__).parent / "studies" / study  # of another metric: two more columns
    if study == "twelve optimizers":
        folder = write_study(tmp_path, repeats=3, trials=6)
    (tmp_path / "page.html").write_text(page_of(load_study(folder), [], []))
    with context.new_page() as page:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto((tmp_path / "page.html").as_uri())
        page.evaluate(UNFOLD)
        scrolling = page.evaluate("""[...document.querySelectorAll("div:has(> table)")]
          .filter(box => box.scrollWidth > box.clientWidth).map(box => box.parentElement.id)""")
    assert scrolling == ["runs"]


def test_a_mark_says_its_optimizer_and_its_value_under_the_mouse(page: Page, report: Path) -> None:
    marks = page.locator("figure").first.locator("g:has(> title):has(use)")
    said = marks.evaluate_all("""all => all.map(mark => {
      mark.scrollIntoView({block: "center"});
      const box = mark.getBoundingClientRect();
      const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      return found.closest("g:has(> title)").querySelector("title").textContent;
    })""")
    summary = load_study(report.parents[1])
    leader = plain(summary.answer.leader)
    behind = {row.optimizer: summary.answer.about(row.optimizer).behind for row in summary.rows}
    assert said == [f"{plain(n)}: {points(b)} points behind {leader}" for n, b in behind.items()]


@pytest.mark.parametrize(("width", "height", "least"), [(1280, 800, 620), (390, 844, 700)])
def test_the_first_screen_shows_the_ranking(
    page: Page, width: int, height: int, least: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.reload()
    figure = page.locator("#verdicts svg")
    assert figure.evaluate("svg => svg.getBoundingClientRect().top") < least
    opened = page.locator("main > details[id][open]").evaluate_all("all => all.map(d => d.id)")
    assert opened == ["verdicts", "read-this-first", "ranking", "code", "target"]


def test_a_step_leads_to_its_part_or_has_a_command_to_copy(
    page: Page, report: Path, context: BrowserContext
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    steps = load_study(report.parents[1]).headline.next
    commands = [step.command for step in steps if "Keras code" not in step.what]
    page.evaluate(UNFOLD)
    assert page.locator(".steps .copy + code").all_text_contents() == commands
    for button in page.locator(".steps .copy").all():
        button.click()
        button.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == commands[-1]
    link = page.locator(".steps a")
    assert link.count() == sum("Keras code" in step.what for step in steps)
    assert str(report) not in page.locator("main").inner_text()


def test_the_contents_lead_to_every_part_and_open_a_folded_one(page: Page) -> None:
    links = page.locator(".contents a")
    targets = links.evaluate_all("all => all.map(link => link.getAttribute('href').slice(1))")
    parts = page.locator("main > details[id]").evaluate_all("all => all.map(part => part.id)")
    assert targets == parts and len(set(parts)) == len(parts) >= 15
    assert not page.locator("#runs table").is_visible()
    links.last.click()
    page.locator("#runs table").wait_for()  # a script opens it once the address has changed
    assert page.locator(".contents").evaluate("list => list.getBoundingClientRect().top") >= 0


def test_the_contents_are_folded_on_a_telephone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    assert not page.locator(".contents a").first.is_visible()


def rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(number) / 255 for number in re.findall(r"\d+", colour))
    return red, green, blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_on_a_ground_of_the_scheme(
    page: Page, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.evaluate(UNFOLD)
    pairs = [tuple(map(rgb, pair.split(";"))) for pair in page.evaluate(TEXTS)]
    assert len(pairs) >= 8
    assert [(ink, ground) for ink, ground in pairs if contrast(ink, ground) < 4.5] == []
    assert all((sum(ink) < sum(ground)) == (scheme == "light") for ink, ground in pairs)


def test_the_code_is_copied(page: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("#code .copy")
    button.click()
    button.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#code pre").text_content()


def test_it_prints_without_the_long_table_of_trials(page: Page) -> None:
    assert page.pdf().startswith(b"%PDF")
    assert page.locator(".trials").is_visible() and page.locator("nav").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".trials").is_hidden() and page.locator("nav").is_hidden()
