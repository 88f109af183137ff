"""Markdown from a summary and its figures: report.md, and what pages of several studies share."""

from collections.abc import Sequence

from study.common.text import as_text, plain
from study.report.analysis.summary import Summary
from study.report.figures.picture import Picture
from study.report.keras_code import keras_code
from study.report.tables import (
    Table,
    code_title,
    evaluation,
    heading,
    pairs_table,
    ranking_table,
    robustness_table,
    settings_table,
    study_table,
)


def markdown(summary: Summary, pictures: Sequence[Picture], warnings: Sequence[str]) -> str:
    """Return report.md; its pictures are in `figures/`."""
    figures = [
        [f"## {as_text(picture.title)}", *markdown_figure(picture, "figures/")]
        for picture in pictures
    ]
    blocks = [f"# {as_text(heading(summary.meta))}", f"**{as_text(summary.headline.text)}**"]
    blocks += [as_text(text) for text in summary.headline.details]
    steps = [as_text(f"{what}: {command}") for what, command in summary.headline.next]
    blocks.append("\n".join(f"- {step}" for step in steps))
    blocks += [text for figure in figures[:1] for text in figure]
    if warnings:
        blocks += ["## Read this first", "\n".join(f"- {as_text(text)}" for text in warnings)]
    blocks += markdown_table(ranking_table(summary))
    if best := summary.best:
        code = keras_code(summary.meta, best.run, best.length)
        blocks += [f"## {code_title(summary)}", _indented(code.splitlines())]
    blocks += [text for figure in figures[1:] for text in figure]
    blocks += markdown_table(settings_table(summary))
    lines = [plain(line, 200) for line in evaluation(summary)]
    if lines:
        blocks += ["## Evaluation on the validation set after the last epoch", _indented(lines)]
    for table in (robustness_table(summary), pairs_table(summary), study_table(summary)):
        blocks += markdown_table(table)
    if summary.citation:
        blocks += ["## In a paper", *map(as_text, summary.citation)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines)


def markdown_figure(picture: Picture, folder: str = "") -> list[str]:
    """Return a picture and its caption; `folder` is where the file is, with its slash."""
    return [f"![{as_text(picture.title)}]({folder}{picture.name}.png)", as_text(picture.caption)]


def markdown_table(table: Table) -> list[str]:
    """Return title, note and table; nothing for an empty table."""
    if not table.rows:
        return [] if table.head else [f"## {table.title}", as_text(table.note)]
    text = [
        f"| {' | '.join(map(as_text, table.head))} |",
        f"| {' | '.join(['---', *['---:'] * (len(table.head) - 1)])} |",
        *(f"| {' | '.join(map(as_text, row))} |" for row in table.rows),
    ]
    return [f"## {table.title}", as_text(table.note), "\n".join(text)]
