"""The folder of a study: opened by one process at a time; started, resumed or refused.

`study_meta` makes the `study.json` of a study that is about to start, and `resume` compares it with
the one in the folder. The same command resumes a study, also with another question, margin or time
limit, or with what only adds to it (see `differences`); other differences are listed and refused.
"""

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from study.common.bases import DEFAULT_BASE
from study.common.errors import UserError, warn
from study.common.files import sweep
from study.common.text import counted, printable_texts
from study.data.sample_weight import weights_in_words
from study.data.splits.study_splits import Splits
from study.records.predicted_classes import (
    PredictedClasses,
    lacks_classes,
    read_predicted,
    repair_predicted,
)
from study.records.study_files import (
    DAMAGED_FILE,
    MISTAKES_FOLDER,
    PREDICTED_FILE,
    STUDY_FILE,
    TRIALS_FILE,
)
from study.records.study_meta import PACKAGES, Look, StudyMeta, load_meta, save_meta
from study.records.trial_record import Phase, TrialRecord
from study.records.trials_file import (
    TrialLines,
    check_plan,
    read_trials,
    repair_trials,
    rewrite_trials,
)
from study.search.differences import changed_versions, differences, more_trials
from study.search.options import Options
from study.search.subject import Subject
from study.space.search_space import SearchSpace
from study.verdicts.judge import answer_of
from study.verdicts.looks import AUTO, continued_looks, looks_of_longer_searches, planned_looks

REMEDY = "choose a new `name`, or start again with `overwrite`"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder of a study, which is made if needed; delete partial files of a killed run.

    The system releases the lock of a dead process.

    Raises:
        UserError: another process is working on this study, or the folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another process is working on this study; wait for it, "
            "or choose another `name`"
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder}: this folder cannot be written ({error.strerror}); "
            "choose another `logs` or `name`"
        ) from None
    try:
        for own in (folder, folder / "best", folder / MISTAKES_FOLDER):
            sweep(own)
        yield
    finally:
        lock.release()


def clear(folder: Path) -> None:
    """Delete the files of a study, for `overwrite`; refuse a folder that holds anything else."""
    own = [TRIALS_FILE, DAMAGED_FILE, PREDICTED_FILE, "tensorboard", "best", "report", STUDY_FILE]
    found = {path.name: path for path in folder.iterdir()}
    strange = sorted(found.keys() - {*own, ".lock"})
    if strange:
        raise UserError(
            f"`overwrite`: {folder} also holds {strange[0]!r}, which is not part of a study; "
            "remove it yourself or choose another `name`"
        )
    for name in own:  # the settings last: there are never records without settings
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def resume(
    folder: Path, meta: StudyMeta, longer: Callable[[int], bool] = lambda _: False
) -> tuple[StudyMeta, list[TrialRecord]]:
    """Start the study `meta` in `folder`, or resume the study that is there.

    Returns:
        The meta in force and the records; a resumed study keeps its creation time, its population
        and its padded widths. For `longer` see `differences`.

    Raises:
        UserError: the study there has different settings, or its files are damaged.
    """
    if not (folder / STUDY_FILE).exists():
        if (folder / TRIALS_FILE).exists():
            raise UserError(
                f"{folder} holds {TRIALS_FILE} but no {STUDY_FILE}, so the settings of its runs "
                "are unknown; restore the file, start again with `overwrite`, or choose another "
                "`name`"
            )
        save_meta(folder, meta)
        return meta, []
    old = load_meta(folder)
    lines = read_trials(folder)
    check_plan(old, lines.whole, folder)
    other = differences(old, meta, longer, {record.optimizer for record in lines.whole})
    if other:
        raise UserError(
            f"study {old.name!r} in {folder.parent} has different settings: {'; '.join(other)}; "
            f"{REMEDY}, or use the old settings"
        )
    _set_damaged_lines_aside(folder, lines)
    known = lines.records
    shared = old.device.keys() & {"widths", "rounding", "population"}  # by all runs
    merged = replace(
        meta,
        created=old.created,
        device={**meta.device, **{key: old.device[key] for key in sorted(shared)}},
        seconds=old.seconds,
        looks=_continued_looks(old, meta, known),
        versions=_all_versions(old, meta),
    )
    if known and merged.device.get("rounding") != meta.device.get("rounding"):
        warn(
            "this machine rounds differently from the one that made the earlier runs (its "
            "processor or its number of threads is another), so the last digits of new runs may "
            "differ from what it would have computed"
        )
    if more_trials(old, meta):  # runs that confirmed winners of shorter searches are dropped
        save_meta(folder, replace(old, looks=merged.looks))  # a kill must not undo spent looks
        known = [record for record in known if record.phase in (Phase.SEARCH, Phase.DEFAULT)]
        rewrite_trials(folder, known)
    save_meta(folder, merged)
    return merged, known


def with_predictions(
    folder: Path, known: Sequence[TrialRecord]
) -> tuple[PredictedClasses, list[TrialRecord]]:
    """Return what confirmation runs predict, and the records without those that lack it.

    These runs are repeated. `predicted.jsonl` is made safe to append to.
    """
    predicted = read_predicted(folder)
    repair_predicted(folder, predicted)
    kept = [record for record in known if not lacks_classes(record, predicted)]
    if lost := len(known) - len(kept):
        warn(
            f"{folder / PREDICTED_FILE} lacks what {counted(lost, 'confirmation run')} "
            f"predicted; {'it' if lost == 1 else 'they'} will be repeated"
        )
    return predicted, kept


def recorded_device(options: Options) -> Mapping[str, Any]:
    """Return the device of the study to resume, as recorded; empty for a new study."""
    folder = options.logs / options.name
    if options.overwrite or not (folder / STUDY_FILE).exists():
        return {}
    found = dict(load_meta(folder).device)
    if options.base != DEFAULT_BASE:  # only the default base has the device's fastest arithmetic
        found.pop("dtype", None)
    return found


def _set_damaged_lines_aside(folder: Path, lines: TrialLines) -> None:
    if damaged := repair_trials(folder, lines):
        warn(
            f"{folder / TRIALS_FILE}: {counted(len(damaged), 'damaged line')} (first: "
            f"{damaged[0]}) set aside in {DAMAGED_FILE}; these runs will be repeated"
        )


def _all_versions(old: StudyMeta, new: StudyMeta) -> list[Mapping[str, str]]:
    """Return the versions of `old`, and the present ones if they differ; print a warning then."""
    changed = changed_versions(old, new)
    if not changed:
        return old.versions
    words = ", ".join(f"{name} {before} -> {after}" for name, before, after in changed)
    warn(
        f"the runs of this study so far were made with other versions ({words}); "
        "each record notes its versions"
    )
    return [*old.versions, new.versions[-1]]


def _continued_looks(old: StudyMeta, new: StudyMeta, known: Sequence[TrialRecord]) -> list[Look]:
    """Return the looks of `old`, and those that the settings of `new` add; refuse others."""
    now, before = new.settings, old.settings
    if now["confirm"] < before["confirm"]:
        raise UserError(
            f"study {old.name!r}: `confirm` {before['confirm']} -> {now['confirm']}: confirmation "
            f"runs cannot be removed; {REMEDY}"
        )
    looks = old.looks
    longer = more_trials(old, new)
    fixed = before["repeats"] != AUTO
    if longer and not fixed:
        looks = list(looks_of_longer_searches(looks, answer_of(old, known).looked))
    return list(
        continued_looks(
            looks,
            now["repeats"],
            now["most_repeats"],
            fixed=fixed,
            again=now["confirm"] > before["confirm"] or (longer and fixed),
        )
    )


def study_meta(
    options: Options,
    space: SearchSpace,
    subject: Subject,
    splits: Splits,
    code: Mapping[str, Mapping[str, str]],
) -> StudyMeta:
    """Return the meta of a study that is about to start."""
    first = splits("confirm", 0)
    looks = planned_looks(options.repeats, options.most_repeats)
    examples = subject.examples
    return StudyMeta(
        name=options.name,
        settings=printable_texts(options.settings()),  # as they will be read again
        optimizers=list(space.optimizers),
        class_names=list(examples.class_names),
        class_counts=np.bincount(examples.labels, minlength=len(examples.class_names)).tolist(),
        split_sizes={part: len(rows) for part, rows in first._asdict().items()},
        data={
            **subject.facts(),
            "groups": len({name for name in examples.groups if name}),
            "sample_weight": "; ".join(weights_in_words(examples)),
            "split_warnings": splits.warnings(several=False),
            "fingerprint": examples.fingerprint,
        },
        space={"name": space.name, "fingerprint": space.fingerprint, "table": space.table},
        split_digests={
            f"{purpose}/{repeat}": splits(purpose, repeat).digest
            for repeat in range(looks[0].repeats)
            for purpose in ("search", "confirm")
        },
        device={**subject.device, "population": None},
        versions=[{"python": platform.python_version()} | {n: version(n) for n in PACKAGES}],
        weights=subject.weights,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit=_git_commit(),
        looks=list(looks),
        code=code,
        command=options.command,
    )


def _git_commit() -> str | None:
    """Return the commit of this program if it runs from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
