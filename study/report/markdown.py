"""Summary -> report.md, ranking.csv and ranking.json.

`ranking.json` is for programs, UTF-8, null for NaN, values and differences as fractions:
    format            2; a changed meaning changes the number
    study, created    name and time of the study; finished, partial: how it ended; metric
    headline          the sentence on top; details: what to know beside it
    answer            known (some optimizer is good enough), margin, leader, good_enough, excluded,
                      undecided (lists of names), looks ({repeats, alpha, reached}), reason (why it
                      is known, or why not)
    ranking           the leader first; one object an optimizer: optimizer, confirmed (only then is
                      it judged), verdict ("good enough", "excluded", "undecided"), at_most_behind
                      (the best, on these images) and at_most_behind_new_images (null where nothing
                      can be claimed), behind (the leader, as measured), excluded_by and
                      at_least_behind, repeats, reruns, reruns_diverged with its 95 % interval
                      (reruns_diverged_low, _high); mean, low, high (95 % over interval_over),
                      spread and the other numbers of `analysis.ranking.Row`; by_repeat;
                      hyperparameters (of a typical winner); other_repeats (where they differ);
                      evaluation {val_loss, val_accuracy, or its metric} at the last epoch
    pairs             first, second, repeats, difference; on these images low, high (95 %, for all
                      pairs and looks together) and separated; on new ones new_low, new_high and
                      carries_over; probability (P(first > second)) with its interval, meaningful
    warnings          {kind, text}
    citation          paragraphs for a paper: data, budget, margin, bounds, references
`ranking.csv` has the numbers of `ranking`, one line an optimizer; `trials.csv` is told in
`flat_tables`.
"""

from collections.abc import Sequence

from study.common.text import as_text, plain
from study.report.analysis.summary import Summary
from study.report.keras_code import keras_code
from study.report.tables import (
    Table,
    code_title,
    evaluation,
    pairs_table,
    ranking_table,
    robustness_table,
    settings_table,
    study_table,
)


def markdown(
    summary: Summary, figures: Sequence[tuple[str, str, str]], warnings: Sequence[str]
) -> str:
    """report.md; `figures` are (name, title, caption)."""
    parts = [f"# {as_text(summary.meta.name)}", f"**{as_text(summary.headline.text)}**"]
    parts += [as_text(text) for text in summary.headline.details]
    parts += [text for figure in figures[:1] for text in _figure(*figure)]
    if warnings:
        parts += ["## Read this first", "\n".join(f"- {as_text(text)}" for text in warnings)]
    parts += markdown_table(ranking_table(summary))
    parts += [text for figure in figures[1:] for text in _figure(*figure)]
    parts += markdown_table(settings_table(summary))
    if summary.settings:
        code = keras_code(summary.meta, summary.settings[0].run)
        indented = "".join(f"    {line}".rstrip() + "\n" for line in code.splitlines())
        parts += [f"## {code_title(summary)}", indented.rstrip()]
    lines = "\n".join(f"    {plain(line, 200)}" for line in evaluation(summary))
    if lines:
        parts += ["## Evaluation on the validation set after the last epoch", lines]
    for table in (robustness_table(summary), pairs_table(summary), study_table(summary)):
        parts += markdown_table(table)
    if summary.citation:
        parts += ["## In a paper", *map(as_text, summary.citation)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figure(name: str, title: str, caption: str) -> list[str]:
    return [
        f"## {as_text(title)}",
        as_text(caption),
        f"![{as_text(title)}](figures/{name}.png)",
    ]


def markdown_table(table: Table) -> list[str]:
    """Title, note and the table itself, as Markdown; nothing for an empty table."""
    if not table.rows:
        return []
    lines = [table.head, tuple("---" if i == 0 else "---:" for i in range(len(table.head)))]
    text = [f"| {' | '.join(map(as_text, table.head))} |", f"| {' | '.join(lines[1])} |"]
    text += [f"| {' | '.join(map(as_text, row))} |" for row in table.rows]
    return [f"## {table.title}", as_text(table.note), "\n".join(text)]
