"""The conclusion and the ranking as text, for the terminal and for a notebook."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from study.common.text import plain
from study.report.analysis.summary import Summary
from study.report.tables import Table, evaluation

LOG_WIDTH = 200  # characters
GAP = 2  # between columns


def print_conclusion(
    summary: Summary, ranking: Table, warnings: Sequence[str], folder: Path
) -> None:
    """Print the headline, the ranking, the evaluation, the warnings and where the files are."""
    out = console()
    out.print()
    out.print(plain(summary.headline.text, 2000), style="bold")
    for text in summary.headline.details:
        out.print(plain(text, 2000))
    out.print()
    out.print(grid_of(ranking, out.width))
    lines = evaluation(summary)
    if lines:
        out.print("\nvalidation set after the last epoch:")
    for line in lines:
        out.print(f"  {plain(line, 200)}")
    if warnings:
        out.print("\nread this first:" if len(warnings) > 1 else "\nnote:", style="bold")
    for text in warnings:
        out.print(f"- {plain(text, 2000)}")
    out.print(f"\nreport: {folder / 'report.html'}", soft_wrap=True)
    out.print(
        f"also:   report.md, ranking.csv, ranking.json, trials.csv, figures/ in {folder}",
        soft_wrap=True,
    )


def conclusion_text(headline: str, ranking: Table) -> str:
    """Return the headline and the ranking as plain text."""
    text = io.StringIO()
    out = Console(
        file=text, width=120, color_system=None, force_jupyter=False, markup=False, emoji=False
    )
    out.print(headline)
    out.print()
    out.print(grid_of(ranking, out.width))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def console() -> Console:
    """Return a console that prints names as they are, even if they look like rich's markup."""
    out = Console(markup=False, emoji=False, highlight=False)
    if not out.is_terminal:
        out.width = LOG_WIDTH  # a log file has no edge, and wrapped tables are unreadable
    return out


def grid_of(shown: Table, width: int) -> Grid:
    """Return as many columns, from the left, as fit without cutting a word; only heads may wrap."""
    grid = Grid(box=None, pad_edge=False)
    used = 0
    for place, head in enumerate(shown.head):
        cells = [row[place] for row in shown.rows]
        whole = max(map(len, [*head.split(), *cells]), default=1)
        used += whole + GAP
        if used - GAP > width:
            break
        grid.add_column(head, justify="left" if place == 0 else "right", min_width=whole)
    for row in shown.rows:
        grid.add_row(*row[: len(grid.columns)])
    return grid
