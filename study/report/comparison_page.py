"""Comparison -> compare.html, compare.md, compare.json and compare.png.

`compare.json`: schema; names of both studies; changes (one object an optimizer) and average, each
with first, second (values), difference, low, high (95 %, for all optimizers and looks
together), says ("differs", "within the margin", "undecided"), repeats, verdicts (in either study);
paired; margin (a fraction); good_enough (in both); reversed (pairs that both studies separate, the
other way round); differences (of settings); headline; metric (of both studies).
"""

import json
import math
from pathlib import Path
from typing import Any

from study.common.files import write_atomically
from study.common.metrics import WORDS
from study.common.plot_look import find_fonts
from study.common.text import as_text, join, plain, points, points_signed
from study.report.analysis.study_comparison import Change, Comparison
from study.report.data_files import finite
from study.report.figures.comparison import draw_comparison
from study.report.html import render
from study.report.markdown import markdown_table
from study.report.tables import Table, percent

FORMAT = 2


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
    content: dict[str, Any] = {"format": FORMAT, **found._asdict()}
    content["changes"] = [change._asdict() for change in found.changes]
    content["average"] = found.average._asdict() if found.average else None
    text = json.dumps(finite(content), indent=2, allow_nan=False)
    write_atomically(folder / "compare.json", text + "\n")
    page = render(
        "comparison.html",
        title=title,
        headline=found.headline,
        remarks=remarks,
        changes=shown,
        picture=picture,
    )
    write_atomically(folder / "compare.html", page)
    return folder / "compare.html"


def comparison_table(found: Comparison) -> Table:
    """Optimizers down, both studies and their difference across."""
    rows = [*found.changes, *([found.average] if found.average else [])]
    return Table(
        "Side by side",
        f"Validation {WORDS[found.metric]} in percent, mean of the confirmation runs. Difference: "
        "the second study minus the first, in points, with a 95 % interval that holds for all "
        "optimizers and looks together. Within the margin: certainly by at most "
        f"{points(found.margin)} points"
        + (", paired by repeat (same splits)." if found.paired else " (other splits: not paired)."),
        (
            *("optimizer", *(plain(n, 30) for n in found.names), "difference", "95 %", "says"),
            *(f"verdict in {plain(n, 30)}" for n in found.names),
        ),
        tuple(_row(change) for change in rows),
    )


def _row(change: Change) -> tuple[str, ...]:
    known = not math.isnan(change.low)
    low, high = points_signed(change.low), points_signed(change.high)
    return (
        plain(change.optimizer, 40),
        percent(change.first),
        percent(change.second),
        "–" if math.isnan(change.difference) else points_signed(change.difference),
        f"{low} to {high}" if known else "–",
        change.says.value if known else "–",
        *(verdict or "–" for verdict in change.verdicts),
    )


def comparison_notes(found: Comparison) -> list[str]:
    """What to know before reading the numbers."""
    texts = []
    if found.differences:
        texts.append(f"The studies differ in {join([plain(t, 120) for t in found.differences])}.")
    else:
        texts.append("The studies have the same settings.")
    for data in ("images", "rows", "data"):
        if f"other {data}" in found.differences:
            texts.append(
                f"The {data} are not the same, so a difference tells which set is easier, "
                "not which study did better."
            )
    if found.reversed:
        pairs = [f"{a} over {b}" for a, b in found.reversed]
        texts.append(f"The order turns round: the first study finds {join(pairs)}.")
    return texts
