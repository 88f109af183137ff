"""Records of studies in one small file, to publish and to compare with.

An archive is a `.tar.xz` with `NAME/study.json` and `NAME/trials.jsonl` of each study: what a
comparison reads, and nothing else. Curves that it does not need are null: training values, learning
rates, losses but for the validation loss at the best epoch, which decides between equals. Left out
are predictions, models, pictures, messages of errors, names of images, and the ways to files. So
1,646 runs take about 120 KB instead of 4.4 MB. Bounds on new images need the predictions: nothing
is claimed about them of a study from an archive.
"""

import io
import lzma
import math
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from study.common.command import typed
from study.common.errors import UserError
from study.common.files import write_atomically
from study.records.study_files import STUDY_FILE, TRIALS_FILE
from study.records.study_meta import StudyMeta, load_meta, meta_text
from study.records.trial_record import CURVES, OF_METRIC, TrialRecord, to_line
from study.records.trials_file import load_records

ENDING = ".tar.xz"
KEPT = ("val_accuracy", "val_metric")  # curves
PLACES = ("data", "labels", "features", "base", "space", "code")  # settings that may be paths
MOST_BYTES = 4 << 30  # of everything in an archive, unpacked
SMALLEST = 9 | lzma.PRESET_EXTREME
BROKEN = (tarfile.TarError, lzma.LZMAError, EOFError)


def pack(folders: Sequence[Path], path: Path) -> None:
    """Write the records of these studies into an archive.

    Raises:
        UserError: a study is damaged, or of another version; the path has another ending.
    """
    if not path.name.endswith(ENDING):
        raise UserError(f"`pack`: {path.name} has to end in {ENDING}")
    names = [folder.name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"`pack`: two studies are named {twice[0]}; rename the folder of one")
    buffer = io.BytesIO()
    with (
        lzma.open(buffer, "wb", preset=SMALLEST) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for folder in folders:
            meta = load_meta(folder)
            lines = (to_line(_slim(record)) for record in load_records(folder, meta))
            _add(archive, f"{folder.name}/{STUDY_FILE}", meta_text(_public(meta)))
            _add(archive, f"{folder.name}/{TRIALS_FILE}", "".join(f"{line}\n" for line in lines))
    write_atomically(path, buffer.getvalue())


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _slim(record: TrialRecord) -> TrialRecord:
    unknown = [math.nan] * len(record.loss)
    given = (key for key in (*CURVES, *OF_METRIC) if len(getattr(record, key)))
    curves: dict[str, Any] = {key: unknown for key in given if key not in KEPT}
    if record.best_epoch:
        curves["val_loss"] = list(unknown)
        curves["val_loss"][record.best_epoch - 1] = record.at_best(record.val_loss)
    return replace(record, message="", **curves)


def _public(meta: StudyMeta) -> StudyMeta:
    """Return the study without names of images, messages, and the way to its files."""
    data = {key: [] if isinstance(value, list) else value for key, value in meta.data.items()}
    settings = {
        key: _without_way(value) if key in PLACES else value for key, value in meta.settings.items()
    }
    return replace(
        meta,
        settings=settings,
        data=data,
        command=typed("search", "--name", meta.name),
        partial="stopped early" if meta.partial else "",
        weights={key: _without_way(value) for key, value in meta.weights.items()},
    )


def _without_way(value: Any) -> Any:
    """Return a path, or several, without the way to it, on any system."""
    if isinstance(value, list | tuple):
        return [_without_way(one) for one in value]
    if not isinstance(value, str):
        return value
    return ",".join(PureWindowsPath(one).name or one for one in value.split(","))


def unpack(path: Path, into: Path) -> list[Path]:
    """Unpack an archive below `into` and return the folders of its studies.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        with tarfile.open(path, mode="r:xz") as archive:
            for member in _checked(archive, path):
                archive.extract(member, into, filter="data")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None
    except BROKEN as error:
        raise UserError(f"{path} is damaged ({error}); get it again") from None
    found = sorted(one.parent for one in into.glob(f"*/{STUDY_FILE}"))
    if not found:
        raise UserError(f"{path} holds no study; write one with `pack`")
    return found


def _checked(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members, after a look at each: an archive may come from anywhere."""
    total, seen = 0, set()
    for member in archive:
        parts = PurePath(member.name).parts
        total += member.size
        record = len(parts) == 2 and parts[0] != ".." and parts[1] in (STUDY_FILE, TRIALS_FILE)
        if not (member.isfile() and record):
            raise UserError(f"{path} holds {member.name!r}, which is no record of a study")
        if member.name in seen:
            raise UserError(f"{path} holds {member.name!r} twice")
        seen.add(member.name)
        if total > MOST_BYTES:
            raise UserError(f"{path} would unpack to more than {MOST_BYTES >> 30} GB")
        yield member
