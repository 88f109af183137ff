"""Summary -> report.md, ranking.csv and ranking.json.

`ranking.json` is for programs, UTF-8, no NaN (null instead), accuracies as fractions:
    schema            "optimizer-study-report/2"; a changed meaning changes the number
    study, created    name and time of the study; finished, partial: how it ended
    headline          the sentence on top; details: what to know beside it
    repeats           fewest repeats of a confirmed optimizer
    margin            the smallest gap that is more than luck on these images; new_margin: on new
                      images of the same kind (null where one repeat cannot tell)
    ranking           best first; one object an optimizer: optimizer, confirmed (only then is it
                      ranked), place_best and place_worst (ranks it may hold), tie_groups (letters;
                      a shared letter means not separated), mean, low, high (95 %, over
                      interval_over), spread, minimum, maximum, and the other numbers of
                      `analysis.ranking.Row`; by_repeat; hyperparameters; other_repeats (where
                      they differ); evaluation {val_loss, val_accuracy} at the last epoch
    pairs             first, second, repeats, difference; on these images low, high (95 %, for all
                      pairs together), p_value (Tukey) and separated; on new ones new_low,
                      new_high, new_p_value and carries_over; probability (P(first > second))
    tie_groups        lists of names
    warnings          {kind, text}
`ranking.csv` has the numbers of `ranking`, one line an optimizer.
"""

import re
from collections.abc import Iterable, Sequence

from study.common.text import plain
from study.report.analysis.summary import Summary
from study.report.keras_code import keras_code
from study.report.tables import (
    Table,
    evaluation,
    pairs_table,
    ranking_table,
    settings_table,
    study_table,
)


def markdown(
    summary: Summary, figures: Iterable[tuple[str, str, str]], warnings: Sequence[str]
) -> str:
    """report.md; `figures` are (name, title, caption)."""
    parts = [f"# {as_text(summary.meta.name)}", f"**{as_text(summary.headline.text)}**"]
    parts += [as_text(text) for text in summary.headline.details]
    if warnings:
        parts += ["## Read this first", "\n".join(f"- {as_text(text)}" for text in warnings)]
    parts += markdown_table(ranking_table(summary))
    for name, title, caption in figures:
        parts += [
            f"## {as_text(title)}",
            as_text(caption),
            f"![{as_text(title)}](figures/{name}.png)",
        ]
    parts += markdown_table(settings_table(summary))
    if summary.settings:
        code = keras_code(summary.meta, summary.settings[0].run)
        indented = "".join(f"    {line}".rstrip() + "\n" for line in code.splitlines())
        parts += ["## The winner as Keras code", indented.rstrip()]
    lines = "\n".join(f"    {plain(line, 200)}" for line in evaluation(summary))
    parts += ["## Evaluation on the validation set after the last epoch", lines]
    for table in (pairs_table(summary), study_table(summary)):
        parts += markdown_table(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def as_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]#|<>$~])", r"\\\1", plain(text, 2000))


def markdown_table(table: Table) -> list[str]:
    """Title, note and the table itself, as Markdown; nothing for an empty table."""
    if not table.rows:
        return []
    lines = [table.head, tuple("---" if i == 0 else "---:" for i in range(len(table.head)))]
    text = [f"| {' | '.join(map(as_text, table.head))} |", f"| {' | '.join(lines[1])} |"]
    text += [f"| {' | '.join(map(as_text, row))} |" for row in table.rows]
    return [f"## {table.title}", as_text(table.note), "\n".join(text)]
