"""`study.json`: the settings of a study, its data, splits, device and versions."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from study.common.bases import DEFAULT_BASE
from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.metrics import ACCURACY, WORDS
from study.records.study_files import STUDY_FILE, checked, damaged, format_of, written_format

FIRST_ALPHA = 0.025  # that a study of a fixed number of repeats spends at its first look
UNBALANCED = 3.0
VGG16_FEATURES = 512  # of a row in studies of format 0


@dataclass(frozen=True)
class Look:
    """A moment at which a study may be judged, fixed before it begins."""

    repeats: int  # of those that are still in question
    alpha: float  # the part of the error rate that it may spend


@dataclass(frozen=True)
class StudyMeta:
    """What `study.json` says: enough to repeat the study and to draw its report.

    With `cross_fitted`, each confirmation run has a split of its own and its best epoch is
    cross-fitted. Studies of formats 0 and 1 have one split a repeat and the plain best epoch, and
    go on like that: their runs would not be comparable otherwise.
    """

    name: str
    settings: Mapping[str, Any]  # the options in force
    optimizers: list[str]  # in the order of the search space
    class_names: list[str]
    class_counts: list[int]
    split_sizes: Mapping[str, int]  # train, validation, test
    data: Mapping[str, Any]  # folder or file, how many examples, length of a row, fingerprint
    space: Mapping[str, Any]  # name, fingerprint, the TOML as a table
    split_digests: Mapping[str, str]
    device: Mapping[str, Any]  # kind, name, dtype of the backbone; population, unusual widths
    versions: list[Mapping[str, str]]  # sets of them that runs were made with, the last in force
    weights: Mapping[str, str]  # source and digest
    created: str  # ISO 8601, UTC
    git_commit: str | None = None
    looks: list[Look] = field(default_factory=list)  # by rising repeats
    cross_fitted: bool = True  # how runs are confirmed
    code: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # the user's optimizers
    finished: bool = False
    partial: str = ""  # why the study ended early, in words; empty if it did not
    seconds: Mapping[str, float] = field(default_factory=dict)  # features, search

    @property
    def metric(self) -> str:
        """What judges epochs, trials and optimizers; accuracy in studies older than the option."""
        return str(self.settings.get("metric", ACCURACY))

    @property
    def metric_words(self) -> str:
        """The same, in a sentence."""
        return WORDS[self.metric]

    @property
    def unbalanced(self) -> bool:
        """Whether the largest class has at least `UNBALANCED` times the images of the smallest."""
        counts = self.class_counts
        return len(counts) > 1 and max(counts) >= UNBALANCED * min(counts)

    @property
    def one_split(self) -> bool:
        """Whether all repeats share one split, so that nothing is known of other images."""
        return self.settings.get("split") in ("keras", "folders")

    @property
    def base(self) -> str:
        """The frozen base as it was given, a name or a file."""
        return str(self.settings.get("base", DEFAULT_BASE))

    @property
    def noun(self) -> str:
        """What the study has many of: "image", or "row" of a file that somebody else computed."""
        return "row" if "rows" in self.data else "image"


def save_meta(study: Path, meta: StudyMeta) -> None:
    """Write `study.json` atomically."""
    table = {"format": written_format(meta.metric), **asdict(meta)}
    text = json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if not text.isascii():  # names that are no valid text keep their bytes as escapes
        text = re.sub(r"[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    write_atomically(study / STUDY_FILE, text)


def load_meta(study: Path) -> StudyMeta:
    """Read `study.json`.

    Raises:
        UserError: there is none, a newer version wrote it, or it is damaged.
    """
    path = study / STUDY_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        found = format_of(table, str(path))
        if found == 0:
            table = _from_format_0(table)
        if found < 2:
            table = _from_format_1(table)
        if found < 3:
            table["versions"] = [table["versions"]]
        if "rows" not in table["data"]:  # before there was a choice
            table["settings"].setdefault("base", DEFAULT_BASE)
        table.pop("format", None)
        meta = checked(table, StudyMeta)
        if len(meta.class_counts) != len(meta.class_names):
            raise ValueError("class_counts and class_names differ in length")
        if meta.metric not in WORDS:
            raise ValueError(f"metric {meta.metric!r} is unknown")
    except FileNotFoundError:
        raise UserError(f"no study at {study}: {STUDY_FILE} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error
    return meta


def _from_format_0(table: dict[str, Any]) -> dict[str, Any]:
    """Format 0 knew one base, and did not say how long its rows are."""
    return {**table, "data": {**table["data"], "features": VGG16_FEATURES}}


def _from_format_1(table: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had a fixed number of repeats, which is one look."""
    look = {"repeats": table["settings"].get("repeats", 1), "alpha": FIRST_ALPHA}
    return {**table, "looks": [look], "cross_fitted": False}
