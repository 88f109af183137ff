"""Study folder -> `report/`: pages, tables, figures, and the conclusion on the terminal."""

from pathlib import Path

from study.common.errors import UserError
from study.common.files import sweep, write_atomically
from study.records.study_folders import find_study
from study.report.analysis.summary import load_study
from study.report.data_files import as_csv, flat_trials, ranking_csv, ranking_json
from study.report.figures.draw import draw_figures, write_figures
from study.report.html import page
from study.report.markdown import markdown
from study.report.tables import ranking_table
from study.report.terminal import print_conclusion
from study.verdicts.looks import MARGIN_RULE, margin_points

HALF_WRITTEN = 60.0  # seconds after which no other report is still writing a file


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
    summary = load_study(study, margin=given_margin(margin))
    pictures, font_warnings = draw_figures(summary)
    warnings = [(found.kind, found.text) for found in summary.cautions]
    warnings += [("font", text) for text in font_warnings]
    texts = [text for _, text in warnings]
    folder = study / "report"
    for own in (folder, folder / "figures"):
        sweep(own, seconds=HALF_WRITTEN)
    write_figures(pictures, folder / "figures")
    about = [(picture.name, picture.title, picture.caption) for picture in pictures]
    write_atomically(folder / "report.md", markdown(summary, about, texts))
    write_atomically(folder / "ranking.csv", ranking_csv(summary))
    write_atomically(folder / "trials.csv", as_csv(*flat_trials(summary.records)))
    write_atomically(folder / "ranking.json", ranking_json(summary, warnings))
    write_atomically(folder / "report.html", page(summary, pictures, texts))
    print_conclusion(summary, ranking_table(summary), texts, folder)
    return folder


def given_margin(text: str | None) -> float | None:
    """Return the margin as a fraction, from points as the search takes them; None without a text.

    Raises:
        UserError: it is no number above 0 to 100.
    """
    try:
        return None if text is None else margin_points(text)
    except ValueError:
        raise UserError(f"`margin`: received {text!r}, but needs {MARGIN_RULE}") from None
