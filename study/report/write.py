"""Write a study's `report/` (pages, tables and figures) and print its conclusion."""

from pathlib import Path

from study.common.errors import UserError
from study.common.files import HALF_WRITTEN, sweep, write_atomically
from study.common.text import as_csv
from study.records.study_folders import find_study
from study.report.analysis.summary import load_study
from study.report.data_files import flat_trials, ranking_head, ranking_json, ranking_rows
from study.report.figures.draw import draw_figures, write_figures
from study.report.html import page
from study.report.markdown import markdown
from study.report.terminal import print_conclusion
from study.verdicts.looks import MARGIN_RULE, margin_points


def write_report(logs: Path, name: str | None = None, *, margin: str | None = None) -> Path:
    """Write the report of a study, print its conclusion and return the report's folder.

    Args:
        logs: folder of the studies.
        name: name of the study; None: the newest one.
        margin: margin to judge by, in points; None: the study's own.

    Raises:
        UserError: the study does not exist, has no finished run, or has a damaged file.
    """
    study = find_study(logs, name)
    summary = load_study(study, margin=given_margin(margin))
    pictures, font_warnings = draw_figures(summary)
    warnings = [(found.kind, found.text) for found in summary.cautions]
    warnings += [("font", text) for text in font_warnings]
    texts = [text for _, text in warnings]
    folder = study / "report"
    for own in (folder, folder / "figures"):
        sweep(own, seconds=HALF_WRITTEN)
    write_figures(pictures, folder / "figures")
    write_atomically(folder / "report.md", markdown(summary, pictures, texts))
    write_atomically(
        folder / "ranking.csv", as_csv(ranking_head(summary.meta.metric), ranking_rows(summary))
    )
    write_atomically(folder / "trials.csv", as_csv(*flat_trials(summary.records)))
    write_atomically(folder / "ranking.json", ranking_json(summary, warnings))
    write_atomically(folder / "report.html", page(summary, pictures, texts))
    print_conclusion(summary, texts, folder)
    return folder


def given_margin(text: str | None) -> float | None:
    """Return a margin that was typed, in points; None: none was.

    Raises:
        UserError: the text is not a number above 0 and up to 100.
    """
    try:
        return None if text is None else margin_points(text)
    except ValueError:
        raise UserError(f"`margin`: received {text!r}, but needs {MARGIN_RULE}") from None
