"""The folder of one study: opened for one process at a time, resumed or refused, never mixed.

A study may be continued by the same command, also with another margin or time limit, and one of a
fixed number of repeats with more of them; anything else that differs is listed and refused, because
records made under two settings must not be ranked together.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from study.common.errors import UserError
from study.records.layout import DAMAGED_FILE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import Look, StudyMeta, load_meta, save_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials, repair_trials
from study.search.options import OPTIONS
from study.verdicts.looks import AUTO, continued_looks

DIGESTS = {"space": "fingerprint", "weights": "digest"}  # parts of study.json that have one


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a study; the system frees the lock of a dead process.

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
    left = [name for name in found if name.startswith(".") and name.endswith(".tmp")]  # by a kill
    strange = sorted(found.keys() - {*own, *left, ".lock"})
    if strange:
        raise UserError(
            f"`overwrite`: {folder} also holds {strange[0]!r}, which is not part of a study; "
            "remove it yourself or choose another `name`"
        )
    for name in [*left, *own]:  # the settings last: records never stand without them
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def resume(folder: Path, meta: StudyMeta) -> tuple[StudyMeta, list[TrialRecord]]:
    """Begin the study `meta` in `folder`, or continue the same one that is there.

    Returns:
        The meta in force (a resumed study keeps its birthday and its population) and the records.

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
    differences = _differences(old, meta)
    if differences:
        raise UserError(
            f"study {old.name!r} in {folder.parent} was made with other settings: "
            f"{'; '.join(differences)}; give the new one a `name`, start anew with `overwrite`, "
            "or use the old settings"
        )
    merged = replace(
        meta,
        created=old.created,
        device={**meta.device, "population": old.device.get("population")},
        seconds=old.seconds,
        cross_fitted=old.cross_fitted,
        looks=_continued_looks(old, meta),
    )
    damaged = repair_trials(folder)
    if damaged:
        print(
            f"warning: {folder / TRIALS_FILE}: {len(damaged)} damaged line"
            f"{'' if len(damaged) == 1 else 's'} (first: {damaged[0]}) set aside in "
            f"{DAMAGED_FILE}; these runs are repeated",
            file=sys.stderr,
        )
    save_meta(folder, merged)
    return merged, load_trials(folder)


def _continued_looks(old: StudyMeta, new: StudyMeta) -> list[Look]:
    """The looks of `old`, and those that the settings of `new` add.

    Raises:
        UserError: they do not fit.
    """
    now, before = new.settings, old.settings
    if now["confirm"] < before.get("confirm", 1):
        raise UserError(
            f"study {old.name!r}: `confirm` {before['confirm']} -> {now['confirm']}: reruns cannot "
            "be taken away; give the new one a `name`, or start anew with `overwrite`"
        )
    looks = continued_looks(
        old.looks,
        now["repeats"],
        now["most_repeats"],
        fixed=before.get("repeats", 1) != AUTO,
        more_reruns=now["confirm"] > before.get("confirm", 1),
    )
    return list(looks)


def _differences(old: StudyMeta, new: StudyMeta) -> list[str]:
    found = []
    same = {
        part
        for part, key in DIGESTS.items()
        if getattr(old, part).get(key) == getattr(new, part).get(key)
    }
    for key, value in new.settings.items():
        option = OPTIONS[key]
        before = old.settings.get(key, option.default)  # the option may be newer than the study
        if before == value or option.continued in ("free", *same):
            continue
        if option.continued == "looks":  # says itself what does not fit
            continue
        found.append(f"`{key}` {before} -> {value}")
    found += _other_code(old, new)
    size, asked = old.device.get("population"), new.settings.get("population")
    if None not in (size, asked) and size != asked:  # it decides how the results are rounded
        found.append(f"`population` {size} -> {asked}")
    compared: list[tuple[str, Mapping[str, Any], Mapping[str, Any], str]] = [
        ("search space", old.space, new.space, "fingerprint"),
        ("images", old.data, new.data, "fingerprint"),
        ("weights", old.weights, new.weights, "digest"),
        ("device", old.device, new.device, "kind"),
        ("arithmetic", old.device, new.device, "dtype"),
    ]
    for words, before_table, after_table, key in compared:
        before, after = before_table.get(key), after_table.get(key)
        if before != after:
            found.append(f"{words} {str(before)[:12]} -> {str(after)[:12]}")
    return found


def _other_code(old: StudyMeta, new: StudyMeta) -> list[str]:
    """What is another than before of optimizers of the user's."""
    found = []
    for name in old.code.keys() & new.code.keys():
        before, after = old.code[name], new.code[name]
        if before["digest"] != after["digest"]:
            found.append(
                f"code of {name} in {after['file']} {before['digest'][:12]} -> "
                f"{after['digest'][:12]}"
            )
        elif bool(before["alone"]) != bool(after["alone"]):
            found.append(f"{name} trained {'alone' if after['alone'] else 'with others'} now")
    return found
