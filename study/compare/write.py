"""Names of studies -> `report/compare/` of the first one, and the answer on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from study.common.errors import UserError
from study.common.text import plain, printable
from study.compare.page import pair_notes, pair_table, pair_title, studies_tables, write_studies
from study.compare.several import Several, several_studies
from study.records.study_folders import find_study
from study.report.analysis.summary import load_study
from study.report.terminal import console, grid_of
from study.report.write import given_margin


def write_comparison(logs: Path, names: Sequence[str], *, margin: str | None = None) -> Path:
    """Compare the studies `names`, write the page and print the answer; return the page's path.

    Args:
        logs: folder of the studies.
        names: two or more, all different.
        margin: margin to judge by, in points; None: each study's own.

    Raises:
        UserError: a study is missing, given twice, damaged, or judged by another metric.
    """
    if len(set(names)) < len(names):
        raise UserError("`study`: the same study is named twice; name two different ones")
    folders = [find_study(logs, name) for name in names]
    found = several_studies([load_study(one, margin=given_margin(margin)) for one in folders])
    page = write_studies(found, folders[0] / "report" / "compare")
    _print_studies(found, page)
    return page


def _print_studies(found: Several, page: Path) -> None:
    """Print the conclusion, the tables, the pairs (the only one with its table) and the page."""
    out = console()
    out.print()
    out.print(plain(found.headline, 2000), style="bold")
    for text in found.details:
        out.print(plain(text, 2000))
    for text in found.remarks:
        out.print(f"- {plain(text, 2000)}")
    for shown in studies_tables(found):
        if shown.rows:
            out.print(f"\n{shown.title.lower()}:")
            out.print(grid_of(shown, out.width))
    for pair in found.pairs:
        out.print(f"\n{pair_title(pair)}:")
        out.print(plain(pair.headline, 2000))
        if len(found.pairs) == 1:
            for text in pair_notes(pair):
                out.print(f"- {plain(text, 2000)}")
            out.print(grid_of(pair_table(pair), out.width))
    out.print(f"\ncomparison: {printable(page)}", soft_wrap=True)
