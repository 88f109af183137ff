"""The folder of one study: opened for one process at a time, resumed or refused, never mixed.

A study may be continued by the same command, also with another margin or time limit, and by what
only adds to it (see `differences`); anything else that differs is listed and refused.

What `study.json` says of a study that is about to start.
"""

import platform
import shutil
import subprocess
import sys
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
from study.common.errors import UserError
from study.common.files import sweep
from study.data.splits.study_splits import Splits
from study.records.study_files import DAMAGED_FILE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import PACKAGES, Look, StudyMeta, load_meta, save_meta
from study.records.trial_record import Phase, TrialRecord
from study.records.trials_file import TrialLines, read_trials, repair_trials, rewrite_trials
from study.search.differences import changed_versions, differences, more_trials
from study.search.options import Options
from study.search.subject import Subject
from study.space.search_space import SearchSpace
from study.verdicts.judge import answer_of
from study.verdicts.looks import AUTO, continued_looks, looks_of_longer_searches, planned_looks


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a study; the system frees the lock of a dead process.

    What a killed one left half-written is deleted.

    Raises:
        UserError: another process works on it.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another process is working on this study; wait for it, "
            "or give this one another `name`"
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder}: this folder cannot be written ({error.strerror}); "
            "choose another `logs` or `name`"
        ) from None
    try:
        for own in (folder, folder / "best"):
            sweep(own)
        yield
    finally:
        lock.release()


def clear(folder: Path) -> None:
    """Delete the files of a study, for `overwrite`.

    Raises:
        UserError: the folder holds something that is no study.
    """
    own = [TRIALS_FILE, DAMAGED_FILE, "tensorboard", "best", "report", STUDY_FILE]
    found = {path.name: path for path in folder.iterdir()}
    strange = sorted(found.keys() - {*own, ".lock"})
    if strange:
        raise UserError(
            f"`overwrite`: {folder} also holds {strange[0]!r}, which is not part of a study; "
            "remove it yourself or choose another `name`"
        )
    for name in own:  # the settings last: records never stand without them
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def resume(
    folder: Path, meta: StudyMeta, longer: Callable[[int], bool] = lambda _: False
) -> tuple[StudyMeta, list[TrialRecord]]:
    """Begin the study `meta` in `folder`, or continue the same one that is there.

    Args:
        folder: of the study.
        meta: as it is asked for.
        longer: see `differences`.

    Returns:
        The meta in force (a resumed study keeps its birthday, its population and its padded widths)
        and the records.

    Raises:
        UserError: the study there was made with other settings, or its files are damaged.
    """
    if not (folder / STUDY_FILE).exists():
        if (folder / TRIALS_FILE).exists():
            raise UserError(
                f"{folder} holds {TRIALS_FILE} but no {STUDY_FILE}, so nobody knows how these runs "
                "were made; restore it, start anew with `overwrite`, or choose another `name`"
            )
        save_meta(folder, meta)
        return meta, []
    old = load_meta(folder)
    lines = read_trials(folder)
    other = differences(old, meta, longer, {record.optimizer for record in lines.whole})
    if other:
        raise UserError(
            f"study {old.name!r} in {folder.parent} was made with other settings: "
            f"{'; '.join(other)}; give the new one a `name`, start anew with `overwrite`, "
            "or use the old settings"
        )
    _repair(folder, lines)
    known = lines.records
    merged = replace(
        meta,
        created=old.created,
        device=_continued_device(old, meta),
        seconds=old.seconds,
        looks=_continued_looks(old, meta, known),
        versions=_all_versions(old, meta),
    )
    if more_trials(old, meta):  # reruns of winners of shorter searches go
        save_meta(folder, replace(old, looks=merged.looks))  # what is spent, whatever a kill leaves
        known = [record for record in known if record.phase in (Phase.SEARCH, Phase.DEFAULT)]
        rewrite_trials(folder, known)
    save_meta(folder, merged)
    return merged, known


def recorded_device(options: Options) -> Mapping[str, Any]:
    """The device on which the study that is continued was computed; empty for a new study.

    Raises:
        UserError: the file of its settings is damaged.
    """
    folder = options.logs / options.name
    if options.overwrite or not (folder / STUDY_FILE).exists():
        return {}
    found = dict(load_meta(folder).device)
    if options.base != DEFAULT_BASE:  # which alone computes in the device's fastest arithmetic
        found.pop("dtype", None)
    return found


def _continued_device(old: StudyMeta, new: StudyMeta) -> dict[str, Any]:
    """That of now, with what all runs share: the sizes of programs, and how workers round."""
    shared = ("widths", "rounding", "population")
    return {**new.device, **{key: old.device[key] for key in shared if key in old.device}}


def _repair(folder: Path, lines: TrialLines) -> None:
    """Leave whole lines only, and say so."""
    damaged = repair_trials(folder, lines)
    if damaged:
        print(
            f"warning: {folder / TRIALS_FILE}: {len(damaged)} damaged line"
            f"{'' if len(damaged) == 1 else 's'} (first: {damaged[0]}) set aside in "
            f"{DAMAGED_FILE}; these runs are repeated",
            file=sys.stderr,
        )


def _all_versions(old: StudyMeta, new: StudyMeta) -> list[Mapping[str, str]]:
    """Those of `old`, and the ones of now where they are others; says so."""
    changed = changed_versions(old, new)
    if not changed:
        return old.versions
    words = ", ".join(f"{name} {before} -> {after}" for name, before, after in changed)
    print(
        f"warning: the runs of this study so far were made with other versions ({words}); "
        "which run was made with which is recorded",
        file=sys.stderr,
    )
    return [*old.versions, new.versions[-1]]


def _continued_looks(old: StudyMeta, new: StudyMeta, known: Sequence[TrialRecord]) -> list[Look]:
    """The looks of `old`, and those that the settings of `new` add.

    Raises:
        UserError: they do not fit.
    """
    now, before = new.settings, old.settings
    if now["confirm"] < before["confirm"]:
        raise UserError(
            f"study {old.name!r}: `confirm` {before['confirm']} -> {now['confirm']}: reruns cannot "
            "be taken away; give the new one a `name`, or start anew with `overwrite`"
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
    """What `study.json` says of a study that is about to start."""
    first = splits("confirm", 0)
    looks = planned_looks(options.repeats, options.most_repeats)
    examples = subject.examples
    return StudyMeta(
        name=options.name,
        settings=options.settings(),
        optimizers=list(space.optimizers),
        class_names=list(examples.class_names),
        class_counts=np.bincount(examples.labels, minlength=len(examples.class_names)).tolist(),
        split_sizes={
            "train": len(first.train),
            "validation": len(first.validation),
            "test": len(first.test),
        },
        data={
            **subject.facts(),
            "groups": len({name for name in examples.groups if name}),
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
    )


def _git_commit() -> str | None:
    """The commit of this program, if it runs from a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
