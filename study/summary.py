"""Study folder -> `Summary`: everything the report says or draws, as plain tuples.

`load_study` reads the files that the search wrote, `summarize` turns them into numbers. Nothing is
drawn or formatted here, so tests and other programs can ask for the numbers alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from study.cautions import Caution, cautions
from study.chances import Chances, chances
from study.claims import Claims, claim
from study.errors import UserError
from study.headline import Headline, headline
from study.knobs import (
    Importance,
    Parallel,
    ParallelAxis,
    Slices,
    importance,
    judge_trials,
    parallel,
    slices,
)
from study.ranking import Row, accuracy_step, overlap, rank
from study.records import (
    STUDY_FILE,
    StudyMeta,
    TrialRecord,
    TrialStatus,
    load_meta,
    load_trials,
)
from study.tuning import (
    Budget,
    Choices,
    Gain,
    Sensitivity,
    budgets,
    choices,
    gains,
    sensitivity,
)
from study.winners import (
    Confusion,
    Curves,
    Settings,
    best_settings,
    load_confusion,
    winner_curves,
)

HAVE_FIGURES = ("learning_rate", "dense_width")  # knobs with figures of their own


class Summary(NamedTuple):
    """A whole study, ready to be shown; lists are in the order of the ranking where one applies."""

    meta: StudyMeta
    records: tuple[TrialRecord, ...]
    rows: tuple[Row, ...]
    claims: Claims
    headline: Headline
    settings: tuple[Settings, ...]
    curves: tuple[Curves, ...]
    confusion: Confusion | None
    sensitivity: tuple[Sensitivity, ...]
    gains: tuple[Gain, ...]
    budgets: tuple[Budget, ...]
    chances: Chances | None
    schedules: Choices | None
    widths: Choices | None
    importance: Importance | None
    slices: tuple[Slices, ...]
    parallel: tuple[tuple[ParallelAxis, ...], tuple[Parallel, ...]]
    cautions: tuple[Caution, ...]


def find_study(logs: Path, name: str | None) -> Path:
    """The folder of study `name`, or of the newest one.

    Raises:
        UserError: there is no study, or none of that name.
    """
    found = sorted(path.parent for path in logs.glob(f"*/{STUDY_FILE}"))
    if not found:
        raise UserError(
            f"no studies in {logs}: run `python -m study.search` first, or give the folder "
            "with --logs"
        )
    if name is None:
        return max(found, key=_age)
    for folder in found:
        if folder.name == name:
            return folder
    raise UserError(
        f"no study named {name!r} in {logs}; known: {', '.join(path.name for path in found)}"
    )


def _age(folder: Path) -> tuple[str, float]:
    """Sorts by creation, then by the file's time; a damaged study never is the newest."""
    try:
        created = str(load_meta(folder).created)
    except UserError:
        created = ""
    return created, (folder / STUDY_FILE).stat().st_mtime


def load_study(folder: Path) -> Summary:
    """Read a study's folder and summarize it.

    Raises:
        UserError: a file is damaged, or no run has finished yet.
    """
    meta = load_meta(folder)
    _check_meta(folder, meta)
    records = list({record.trial_id: record for record in load_trials(folder)}.values())
    if not any(record.status is not TrialStatus.FAILED for record in records):
        failed = f" ({len(records)} failed)" if records else ""
        raise UserError(
            f"study {folder.name} has no finished runs yet{failed}: wait for the search, or run "
            "the same search command again to continue it"
        )
    summary = summarize(meta, records)
    best = summary.rows[0].optimizer if summary.rows else ""
    return summary._replace(confusion=load_confusion(folder, meta, best))


def summarize(meta: StudyMeta, records: Sequence[TrialRecord]) -> Summary:
    """Turn records into everything that is shown; `confusion` needs the files, so it is None."""
    rows = rank(meta, records)
    claims = claim(rows, ratio=overlap(meta), least=accuracy_step(meta))
    settings = best_settings(meta, rows, records)
    curves = winner_curves(meta, rows, records)
    spent = budgets(meta, records)
    judged = judge_trials(meta, records)
    gained = gains(meta, rows, records)
    return Summary(
        meta=meta,
        records=tuple(records),
        rows=tuple(rows),
        claims=claims,
        headline=headline(rows, claims),
        settings=tuple(settings),
        curves=tuple(curves),
        confusion=None,
        sensitivity=tuple(sensitivity(meta, records)),
        gains=tuple(gained),
        budgets=tuple(spent),
        chances=chances(spent),
        schedules=choices(meta, records, "schedule"),
        widths=choices(meta, records, "dense_width"),
        importance=importance(judged),
        slices=tuple(slices(judged, without=HAVE_FIGURES)),
        parallel=parallel(meta, records),
        cautions=tuple(cautions(meta, rows, claims, settings, curves, gained)),
    )


def _check_meta(folder: Path, meta: StudyMeta) -> None:
    texts = (meta.optimizers, meta.class_names)
    whole = (
        all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in texts)
        and isinstance(meta.class_counts, list)
        and len(meta.class_counts) == len(meta.class_names)
        and all(isinstance(count, int) for count in meta.class_counts)
        and all(
            isinstance(t, dict) for t in (meta.settings, meta.split_sizes, meta.data, meta.space)
        )
    )
    if not whole:
        raise UserError(
            f"{folder / STUDY_FILE} is damaged (optimizers, class_names, class_counts, settings, "
            "split_sizes, data or space); restore it or start anew with --overwrite"
        )
