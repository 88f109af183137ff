"""Study folder -> `Summary`: all that the report shows, as plain tuples.

Nothing is drawn or formatted here, so tests and other programs can ask for the numbers alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import counted
from study.records.predicted_classes import PredictedClasses, read_predicted
from study.records.study_meta import StudyMeta, load_meta
from study.records.trial_record import TrialRecord, TrialStatus
from study.records.trials_file import load_records
from study.report.analysis.cautions import cautions
from study.report.analysis.citation import citation
from study.report.analysis.conclusion import Headline, headline
from study.report.analysis.confusion import Confusion, load_confusion
from study.report.analysis.data_cautions import Caution
from study.report.analysis.importance import (
    Importance,
    Slices,
    importance,
    score_trials,
    slices,
)
from study.report.analysis.pairs import Pair, all_pairs
from study.report.analysis.ranking import Row, rank
from study.report.analysis.search_trials import (
    BestSoFar,
    Choices,
    Gain,
    Incumbents,
    Robustness,
    Sensitivity,
    Target,
    best_so_far,
    choices,
    confirmed_incumbents,
    gains,
    robustness,
    sensitivity,
    time_to_target,
)
from study.report.analysis.winners import Curves, WinnerSettings, best_settings, winner_curves
from study.verdicts.answer import Answer
from study.verdicts.judge import answer_of


class Summary(NamedTuple):
    """A whole study; every list of optimizers is in the order of `rows`."""

    meta: StudyMeta
    records: tuple[TrialRecord, ...]
    rows: tuple[Row, ...]
    answer: Answer
    pairs: tuple[Pair, ...]
    headline: Headline
    settings: tuple[WinnerSettings, ...]
    curves: tuple[Curves, ...]
    confusion: Confusion | None
    sensitivity: tuple[Sensitivity, ...]
    gains: tuple[Gain, ...]
    best_so_far: tuple[BestSoFar, ...]
    incumbents: Incumbents | None
    robustness: tuple[Robustness, ...]
    target: Target | None
    schedules: Choices | None
    widths: Choices | None
    importance: Importance | None
    slices: tuple[Slices, ...]
    cautions: tuple[Caution, ...]
    citation: tuple[str, ...]

    @property
    def best(self) -> WinnerSettings | None:
        """The settings of the leader; without one, those of the first row that has any."""
        of_leader = (one for one in self.settings if one.optimizer == self.answer.leader)
        return next(of_leader, self.settings[0] if self.settings else None)


def load_study(folder: Path, *, margin: float | None = None) -> Summary:
    """Read and summarize a study; `margin` is in percentage points, by default the study's.

    Raises:
        UserError: a file is damaged, or no run has finished yet.
    """
    meta = load_meta(folder)
    if margin is not None:
        meta = replace(meta, settings={**meta.settings, "margin": margin})
    records = load_records(folder, meta)
    if (lost := meta.runs - len(records)) > 0:
        are, them = ("is", "it") if lost == 1 else ("are", "them")
        why = f"{counted(lost, 'run')} {are} missing (the same search command repeats {them})"
        meta = replace(meta, finished=False, partial=why)
    if not any(record.status is not TrialStatus.FAILED for record in records):
        failed = f" ({len(records)} failed)" if records else ""
        raise UserError(
            f"study {folder.name} has no finished runs yet{failed}: wait for the search, or run "
            "the same search command again to continue it"
        )
    summary = summarize(meta, records, read_predicted(folder), folder)
    best = summary.best.optimizer if summary.best else ""
    return summary._replace(confusion=load_confusion(folder, meta, best))


def summarize(
    meta: StudyMeta,
    records: Sequence[TrialRecord],
    predicted: PredictedClasses | None = None,
    folder: Path | None = None,
) -> Summary:
    """Return the summary of records; `confusion` needs files, so it is None.

    Without `predicted` nothing is claimed of new images. The next steps are for a study in
    `folder`, by default below `logs`.
    """
    folder = folder or Path("logs", meta.name)
    lacks_runs = bool(meta.partial) and not meta.finished
    answer = answer_of(meta, records, {} if lacks_runs else None, predicted)
    rows = rank(meta, records, answer)
    settings = best_settings(meta, rows, records)
    curves = winner_curves(meta, rows, records)
    ranked = replace(meta, optimizers=[row.optimizer for row in rows])
    scored = score_trials(ranked, records)
    widths = choices(ranked, records, "dense_width")
    gained = gains(meta, rows, records)
    return Summary(
        meta=meta,
        records=tuple(records),
        rows=tuple(rows),
        answer=answer,
        pairs=tuple(all_pairs(rows, answer)),
        headline=headline(meta, rows, answer, settings, len(records), folder),
        settings=tuple(settings),
        curves=tuple(curves),
        confusion=None,
        sensitivity=tuple(sensitivity(ranked, records)),
        gains=tuple(gained),
        best_so_far=tuple(best_so_far(ranked, records)),
        incumbents=confirmed_incumbents(meta, rows, records),
        robustness=tuple(robustness(meta, rows, records, answer.margin)),
        target=time_to_target(rows, records, answer),
        schedules=choices(ranked, records, "schedule"),
        widths=widths,
        importance=importance(scored),
        slices=tuple(
            slices(
                scored,
                meta.space["table"],
                without=("learning_rate", *(("dense_width",) if widths else ())),
            )
        ),
        cautions=tuple(cautions(meta, rows, answer, settings, curves, gained)),
        citation=citation(meta, rows, answer),
    )
