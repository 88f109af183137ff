"""The conclusion and the ranking as text, for the terminal and for a notebook."""

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from study.common.text import plain, printable
from study.report.analysis.summary import Summary
from study.report.tables import Table, verdict_table
from study.verdicts.answer import Verdict

LOG_WIDTH = 200  # characters
GAP = 2  # between columns
STYLES: Mapping[str, str] = {Verdict.GOOD_ENOUGH: "green", Verdict.EXCLUDED: "red"}  # of cells


def print_conclusion(summary: Summary, warnings: Sequence[str], folder: Path) -> None:
    """Print the answer, the warnings, what to do next and where the files are."""
    out = console()
    out.print()
    _print_answer(out, summary)
    if warnings:
        out.print("\nread this first:" if len(warnings) > 1 else "\nnote:", style="bold")
    for text in warnings:
        out.print(f"- {plain(text, 2000)}")
    _print_next(out, summary)
    where = printable(folder)
    out.print(f"\nreport: {where}/report.html", soft_wrap=True)
    out.print(
        f"also:   report.md, ranking.csv, ranking.json, trials.csv, figures/ in {where}",
        soft_wrap=True,
    )


def conclusion_text(summary: Summary) -> str:
    """Return the answer and what to do next as plain text."""
    text = io.StringIO()
    out = Console(
        file=text, width=120, color_system=None, force_jupyter=False, markup=False, emoji=False
    )
    _print_answer(out, summary)
    _print_next(out, summary)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _print_answer(out: Console, summary: Summary) -> None:
    out.print(plain(summary.headline.text, 2000), style="bold")
    for text in summary.headline.details:
        out.print(plain(text, 2000))
    out.print()
    out.print(grid_of(verdict_table(summary), out.width))


def _print_next(out: Console, summary: Summary) -> None:
    out.print("\nnext:", style="bold")
    for what, command in summary.headline.next:
        out.print(f"- {plain(what, 2000)}:")
        out.print(f"    {plain(command, 2000)}", soft_wrap=True)  # to be copied in one piece


def console() -> Console:
    """Return a console that prints names as they are, even if they look like rich's markup."""
    out = Console(markup=False, emoji=False, highlight=False)
    if not out.is_terminal:
        out.width = LOG_WIDTH  # a log file has no edge, and wrapped tables are unreadable
    return out


def grid_of(shown: Table, width: int) -> Grid:
    """Return as many columns, from the left, as fit without cutting a word; only heads may wrap."""
    columns = list(zip(shown.head, *shown.rows, strict=True))
    narrow = [max(map(cell_len, [*head.split(), *cells])) for head, *cells in columns]
    ends = accumulate(narrow, lambda used, own: used + GAP + own)
    fitting = sum(end <= width for end in ends)
    wide = [max(own, cell_len(head)) for own, head in zip(narrow, shown.head, strict=True)]
    if sum(wide[:fitting]) + GAP * (fitting - 1) > width:
        wide = narrow
    grid = Grid(box=None, pad_edge=False)
    for place in range(fitting):
        grid.add_column(shown.head[place], justify="right" if place else "left", width=wide[place])
    for row in shown.rows:
        grid.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row[:fitting]))
    return grid
