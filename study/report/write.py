"""Study folder -> `report/`: pages, tables, figures, and the conclusion on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from study.common.errors import UserError
from study.common.files import write_atomically
from study.records.study_folders import find_study
from study.report.analysis.several_studies import several_studies
from study.report.analysis.study_comparison import compare
from study.report.analysis.summary import load_study
from study.report.comparison_page import comparison_notes, comparison_table, write_comparison
from study.report.data_files import as_csv, flat_trials, ranking_csv, ranking_json
from study.report.figures.draw import draw_figures, write_figures
from study.report.html import page
from study.report.markdown import markdown
from study.report.studies_page import studies_tables, write_studies
from study.report.tables import ranking_table
from study.report.terminal import print_comparison, print_conclusion, print_studies
from study.verdicts.looks import MARGIN_RULE, margin_points


def write_report(logs: Path, name: str | None = None, *, margin: str | None = None) -> Path:
    """Summarize study `name` (default: the newest), write its report, print the conclusion.

    Args:
        logs: folder of the studies.
        name: of the study.
        margin: points to judge by instead of the study's own.

    Raises:
        UserError: no such study, nothing finished, or a damaged file.
    """
    study = find_study(logs, name)
    summary = load_study(study, margin=_margin(margin))
    pictures, font_warnings = draw_figures(summary)
    warnings = [(found.kind, found.text) for found in summary.cautions]
    warnings += [("font", text) for text in font_warnings]
    texts = [text for _, text in warnings]
    folder = study / "report"
    write_figures(pictures, folder / "figures")
    about = [(picture.name, picture.title, picture.caption) for picture in pictures]
    write_atomically(folder / "report.md", markdown(summary, about, texts))
    write_atomically(folder / "ranking.csv", ranking_csv(summary))
    write_atomically(folder / "trials.csv", as_csv(*flat_trials(summary.records)))
    write_atomically(folder / "ranking.json", ranking_json(summary, warnings))
    write_atomically(folder / "report.html", page(summary, pictures, texts))
    print_conclusion(summary, ranking_table(summary), texts, folder)
    return folder


def write_comparisons(logs: Path, names: Sequence[str], *, margin: str | None = None) -> list[Path]:
    """Compare studies: what moves how much, over data sets, and the first with each of the others.

    Returns:
        The page of all, and those of the pairs.

    Raises:
        UserError: a study is missing, named twice, damaged, or judged by another metric.
    """
    if len(set(names)) < len(names):
        raise UserError("`study`: the same study is named twice; name two different ones")
    folders = [find_study(logs, name) for name in names]
    studies = [load_study(folder, margin=_margin(margin)) for folder in folders]
    together = several_studies(studies)
    folder = folders[0] / "report" / "compare"
    pairs = []
    for other, its in zip(studies[1:], folders[1:], strict=True):
        found = compare(studies[0], other)
        page = write_comparison(found, folder / its.name)
        pairs.append((found, page))
        if len(studies) == 2:
            print_comparison(found, comparison_table(found), comparison_notes(found), page)
    pages = [write_studies(together, folder), *(page for _, page in pairs)]
    print_studies(together, studies_tables(together), pages)
    return pages


def _margin(text: str | None) -> float | None:
    """Points, as the search takes them.

    Raises:
        UserError: it is no number above 0 to 100.
    """
    try:
        return None if text is None else margin_points(text)
    except ValueError:
        raise UserError(f"`margin`: received {text!r}, but needs {MARGIN_RULE}") from None
