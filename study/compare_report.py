"""Comparison -> compare.html, compare.md, compare.json and compare.png.

`compare.json`: schema; names of both studies; changes (one object an optimizer) and average, each
with first, second (accuracies), difference, low, high, p_value, separated, repeats; paired;
reversed (pairs that both studies separate, the other way round); differences (of settings);
headline.
"""

import json
import math
from html import escape
from pathlib import Path

from study.compare import Change, Comparison, points_signed
from study.documents import as_text, finite, markdown_table
from study.figures import Picture
from study.files import write_atomically
from study.fonts import Fonts, find_fonts
from study.headline import join
from study.labels import label_width, plain
from study.page import document, figure, notes, table
from study.style import INK, MUTED, looks, margins, new_figure, percent_axis, style, to_png
from study.tables import Table, percent, small

SCHEMA = "optimizer-study-comparison/1"


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write page, Markdown, JSON and picture into `folder`; returns the page's path."""
    fonts = find_fonts(change.optimizer for change in found.changes)
    picture = draw_comparison(found, fonts)
    shown, remarks = comparison_table(found), comparison_notes(found)
    title = " and ".join(plain(name, 60) for name in found.names)
    parts = [
        f"# {as_text(title)}",
        f"**{as_text(found.headline)}**",
        *(f"- {as_text(text)}" for text in remarks),
        f"![{as_text(picture.title)}](compare.png)",
        *markdown_table(shown),
    ]
    write_atomically(folder / "compare.png", picture.png)
    write_atomically(folder / "compare.md", "\n\n".join(parts) + "\n")
    content = {"schema": SCHEMA, **found._asdict()}
    content["changes"] = [change._asdict() for change in found.changes]
    content["average"] = found.average._asdict() if found.average else None
    text = json.dumps(finite(content), indent=2, allow_nan=False)
    write_atomically(folder / "compare.json", text + "\n")
    page = document(
        title,
        (
            f'<p class="headline">{escape(found.headline)}</p>',
            notes(remarks),
            table(shown, "sortable"),
            figure(picture),
        ),
    )
    write_atomically(folder / "compare.html", page)
    return folder / "compare.html"


def comparison_table(found: Comparison) -> Table:
    """Optimizers down, both studies and their difference across."""
    rows = [*found.changes, *([found.average] if found.average else [])]
    return Table(
        "Side by side",
        "Validation accuracy in percent, mean of the confirmation runs. Difference: the second "
        "study minus the first, in points, with a 95 % interval that holds for all optimizers "
        "together"
        + (", paired by repeat (same splits)." if found.paired else " (other splits: not paired)."),
        ("optimizer", *(plain(n, 30) for n in found.names), "difference", "95 %", "p", "real"),
        tuple(_row(change) for change in rows),
    )


def _row(change: Change) -> tuple[str, ...]:
    known = not math.isnan(change.p_value)
    low, high = points_signed(change.low), points_signed(change.high)
    return (
        plain(change.optimizer, 40),
        percent(change.first),
        percent(change.second),
        "–" if math.isnan(change.difference) else points_signed(change.difference),
        f"{low} to {high}" if known else "–",
        small(change.p_value),
        "yes" if change.separated else "no" if known else "–",
    )


def comparison_notes(found: Comparison) -> list[str]:
    """What to know before reading the numbers."""
    texts = []
    if found.differences:
        texts.append(f"The studies differ in {join([plain(t, 120) for t in found.differences])}.")
    else:
        texts.append("The studies have the same settings.")
    if "other images" in found.differences:
        texts.append(
            "The images are not the same, so a difference tells which set is easier, "
            "not which study did better."
        )
    if found.reversed:
        pairs = [f"{a} over {b}" for a, b in found.reversed]
        texts.append(f"The order turns round: the first study finds {join(pairs)}.")
    return texts


def draw_comparison(found: Comparison, fonts: Fonts) -> Picture:
    """Left both accuracies of each optimizer, right their difference with its interval."""
    changes = [c for c in found.changes if not math.isnan(c.first + c.second)] or [*found.changes]
    look = looks(found.optimizers, fonts)
    names = [look[change.optimizer].label for change in changes]
    with style(fonts):
        drawing = new_figure(
            10,
            1.7 + 0.33 * len(changes),
            "What changed?",
            f"Left: open {plain(found.names[0], 30)}, filled {plain(found.names[1], 30)}. "
            "Right: the change in points with its 95 % interval.",
        )
        left, right = drawing.subplots(1, 2, sharey=True)
        margins(drawing, left=0.3 + label_width(names), right=0.3, top=0.8, bottom=0.55, wspace=0.1)
        for place, change in enumerate(changes):
            colour, marker, _ = look[change.optimizer]
            left.plot([change.first, change.second], [place] * 2, "-", color=colour, lw=1.2)
            left.plot(change.first, place, marker, color=colour, mfc="white", ms=7)
            left.plot(change.second, place, marker, color=colour, ms=7)
            kind = "-" if change.separated else ":"
            right.plot([change.low, change.high], [place] * 2, kind, color=colour, lw=1.8)
            right.plot(change.difference, place, marker, color=colour, ms=7)
        right.axvline(0, color=MUTED, lw=1)
        left.set_ylim(len(changes) - 0.4, -0.6)
        left.set_yticks(range(len(changes)), names, color=INK)
        left.set_xlabel("Validation accuracy")
        percent_axis(left, "x")
        right.set_xlabel("Change, points (dotted: luck alone can do that)")
        right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+g}" if value else "0")
        for axis in (left, right):
            axis.grid(axis="y", visible=False)
        png = to_png(drawing)
    caption = "An interval that leaves out 0 is more than luck."
    return Picture("compare", "What changed?", caption, png)
