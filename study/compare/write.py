"""Names of studies -> `report/compare/` of the first one, and the answer on the terminal."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from study.common.errors import UserError
from study.common.text import plain, printable
from study.compare.archive import ENDING, pack, unpack
from study.compare.page import pair_notes, pair_table, pair_title, studies_tables, write_studies
from study.compare.several import Several, several_studies
from study.records.study_folders import find_study
from study.report.analysis.summary import load_study
from study.report.terminal import console, grid_of
from study.report.write import given_margin


def write_comparison(
    logs: Path, names: Sequence[str], *, margin: str | None = None, packed: Path | None = None
) -> Path:
    """Compare the studies `names`, write the page and print the answer; return the page's path.

    The page is written beside the report of the first study of `logs`; without any, in
    `logs/compare`.

    Args:
        logs: folder of the studies.
        names: studies, or archives of studies; two or more studies in all, all different.
        margin: margin to judge by, in points; None: each study's own.
        packed: an archive to write the records of these studies to.

    Raises:
        UserError: a study is missing, given twice, damaged, or judged by another metric.
    """
    if len(set(names)) < len(names):
        raise UserError("`study`: the same study is named twice; name two different ones")
    with tempfile.TemporaryDirectory() as temporary:
        folders: list[Path] = []
        for number, name in enumerate(names):
            if name.endswith(ENDING):
                folders += unpack(Path(name), Path(temporary, str(number)))
            else:
                folders.append(find_study(logs, name))
        if len(folders) < 2:
            raise UserError("`study`: two or more are needed; give it once for each")
        found = several_studies([load_study(one, margin=given_margin(margin)) for one in folders])
        if packed is not None:
            pack(folders, packed)
        own = [one / "report" for one in folders if not one.is_relative_to(temporary)]
    page = write_studies(found, (own[0] if own else logs) / "compare")
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
