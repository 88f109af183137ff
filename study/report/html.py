"""Summary and figures -> report.html: one file that needs no network and works from a mail.

Every text passes `html.escape`. The only script is the one below; a content security policy with
its digest forbids any other, and all loading.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from study.common.text import plain
from study.records.outcomes import chance, score
from study.report.analysis.summary import Summary
from study.report.analysis.wording import number
from study.report.figures.picture import Picture
from study.report.keras_code import keras_code
from study.report.tables import (
    Table,
    decimal,
    evaluation,
    pairs_table,
    percent,
    ranking_table,
    settings_table,
    study_table,
)

SCRIPT = """
for (const head of document.querySelectorAll("table.sortable th")) {
  head.querySelector("button").addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => {
      const text = row.cells[column].textContent.trim();
      return text === "" || text === "–" ? null : isNaN(text) ? text : Number(text);
    };
    const order = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    const rows = Array.from(body.rows, row => [key(row), row]);
    rows.sort(([a], [b]) => a === null || b === null  // empty cells stay at the end
      ? (a === null) - (b === null) : up ? order(a, b) : order(b, a));
    body.append(...rows.map(([, row]) => row));
  });
}
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5c5c5c; --line: #dcdcdc;
  --back: #fff; --card: #f4f6f8; --warn: #fff4dc; --accent: #0b5394; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a8a8a8; --line: #3c3f44;
  --back: #16181b; --card: #202328; --warn: #3a2f14; --accent: #8cc0f0; } }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.2rem 4rem; color: var(--ink);
  background: var(--back); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: .5rem 0 0; font-size: 1.15rem; color: var(--soft); font-weight: 600;
  overflow-wrap: anywhere; }
h2 { margin: 2.4rem 0 .3rem; font-size: 1.25rem; }
.headline { font-size: 1.45rem; line-height: 1.35; margin: .4rem 0 1rem; overflow-wrap: anywhere; }
.note, figcaption { color: var(--soft); font-size: .92rem; max-width: 60rem; }
.warnings { background: var(--warn); border-radius: 6px; padding: .7rem 1rem .7rem 2.2rem; }
figure { margin: 1.6rem 0; break-inside: avoid; }
figure img { max-width: 100%; background: #fff; border-radius: 6px; display: block; }
.scroll { overflow-x: auto; }
.tall { max-height: 36rem; overflow: auto; border: 1px solid var(--line); }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
table.text td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
thead th { position: sticky; top: 0; background: var(--card); }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
pre { background: var(--card); padding: .7rem 1rem; overflow-x: auto; border-radius: 6px; }
@media print { .tall { max-height: none; overflow: visible; } .trials { display: none; }
  body { max-width: none; font-size: 11px; } }
"""


def page(summary: Summary, pictures: Sequence[Picture], warnings: Sequence[str]) -> str:
    """The report of one study."""
    lines = "\n".join(escape(line) for line in evaluation(summary))
    parts = (
        f'<p class="headline">{escape(summary.headline.text)}</p>',
        *(f"<p>{escape(text)}</p>" for text in summary.headline.details),
        notes(warnings),
        table(ranking_table(summary), "sortable"),
        *(figure(picture) for picture in pictures),
        table(settings_table(summary)),
        *_code(summary),
        "<h2>Evaluation on the validation set after the last epoch</h2>",
        f"<pre>{lines}</pre>",
        table(pairs_table(summary), "sortable", tall=True),
        table(study_table(summary), "text"),
        _trials(summary),
    )
    return document(summary.meta.name, parts)


def document(title: str, parts: Iterable[str]) -> str:
    """A whole HTML file around `parts`, which are HTML already."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
    policy += f"'sha256-{digest}'"
    name = escape(plain(title, 200))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}</title><style>{STYLE}</style></head><body>",
            f"<h1>{name}</h1>",
            *parts,
            f"<script>{SCRIPT}</script></body></html>\n",
        )
    )


def _code(summary: Summary) -> list[str]:
    """The winner as Keras code; only the best of the ranking."""
    if not summary.settings:
        return []
    code = escape(keras_code(summary.meta, summary.settings[0].run))
    return ["<h2>The winner as Keras code</h2>", f"<pre>{code}</pre>"]


def notes(warnings: Sequence[str]) -> str:
    """A box of sentences."""
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(plain(text, 2000))}</li>" for text in warnings)
    return f'<ul class="warnings">{items}</ul>'


def figure(picture: Picture) -> str:
    """A picture inside the file, with its caption."""
    data = base64.b64encode(picture.png).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(picture.title)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def table(shown: Table, kind: str = "", *, tall: bool = False) -> str:
    """A table with title and note; `kind` is its class: "sortable" or "text"."""
    if not shown.rows:
        return ""
    box = "tall" if tall and len(shown.rows) > 12 else "scroll"
    return (
        f'<h2>{escape(shown.title)}</h2><p class="note">{escape(shown.note)}</p>'
        f'<div class="{box}"><table class="{kind}">{_head(shown.head, kind)}<tbody>'
        + _body(shown.rows)
        + "</tbody></table></div>"
    )


def _head(names: Iterable[str], kind: str) -> str:
    cells = (
        f"<button>{escape(name)}</button>" if kind == "sortable" else escape(name) for name in names
    )
    return "<thead><tr>" + "".join(f"<th>{cell}</th>" for cell in cells) + "</tr></thead>"


def _body(rows: Iterable[Iterable[str]]) -> str:
    """End tags of cells and rows are optional in HTML, and thousands of rows are a mail."""
    return "\n".join("<tr><td>" + "<td>".join(map(escape, row)) for row in rows)


def _trials(summary: Summary) -> str:
    """Every run with its hyperparameters; not printed on paper."""
    guess = chance(len(summary.meta.class_names))
    keys = list(dict.fromkeys(k for record in summary.records for k in record.hyperparameters))
    head = (
        *("run", "optimizer", "phase", "repeat", "bracket", "rung", "epochs", "status"),
        *("val acc", "best epoch", "test acc", "seconds"),
        *(plain(key, 40) for key in keys),
    )
    rows = (
        (
            plain(r.trial_id, 80),
            plain(r.optimizer, 40),
            r.phase.value,
            str(r.repeat),
            "" if r.bracket is None else str(r.bracket),
            "" if r.rung is None else str(r.rung),
            str(r.epochs),
            r.status.value,
            percent(score(r, guess)),
            str(r.best_epoch),
            "" if r.test_accuracy is None else percent(r.test_accuracy),
            decimal(r.seconds, 2),
            *(number(r.hyperparameters[k]) if k in r.hyperparameters else "" for k in keys),
        )
        for r in summary.records
    )
    return (
        f'<section class="trials"><h2>All {len(summary.records)} runs</h2>'
        '<p class="note">Click a column to sort. A rung of Hyperband that continues an earlier one '
        "is a line of its own.</p>"
        f'<div class="tall"><table class="sortable">{_head(head, "sortable")}<tbody>'
        + _body(rows)
        + "</tbody></table></div></section>"
    )
