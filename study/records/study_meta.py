"""`study.json`: the options of a study, its data, splits, device and versions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.metrics import WORDS
from study.records.study_files import FORMAT, STUDY_FILE, checked, damaged, need, without_format

UNBALANCED = 3.0
MOST_REPEATS = 10_000
BEST, ALL = "best", "all"  # questions of a study, see `asked_about`
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "pillow")  # whose versions are kept

# Keys of the tables in `study.json`; a study of images or of rows has more of them.
EVERY: Mapping[str, Sequence[str]] = {
    "settings": (
        *("split", "tuner", "max_epochs", "trials", "allocation", "metric", "margin"),
        *("ask", "repeats", "most_repeats", "confirm", "seed", "population"),
    ),
    "split_sizes": ("train", "validation", "test"),
    "data": ("features", "in_several_classes", "groups", "split_warnings", "fingerprint"),
    "space": ("name", "fingerprint", "table"),
    "device": ("kind", "name", "population", "widths"),
}
OF_IMAGES: Mapping[str, Sequence[str]] = {
    "settings": ("base", "image_size", "preprocess", "views", "weights", "group", "group_pattern"),
    "data": (
        *("folder", "left_out", "left_out_reasons", "flat", "dark", "shortcuts", "deep_grey"),
        *("same_pixels", "near_copies", "subfolders"),
    ),
    "device": ("dtype",),
    "weights": ("source", "digest"),
}
OF_ROWS: Mapping[str, Sequence[str]] = {"data": ("file", "rows", "constant")}


@dataclass(frozen=True)
class Look:
    """A planned look (interim analysis) at a study, fixed before it starts."""

    repeats: int  # of each optimizer that is still in the race
    alpha: float  # error probability that it may spend


@dataclass(frozen=True)
class StudyMeta:
    """The content of `study.json`: enough to repeat the study and to draw its report."""

    name: str
    settings: Mapping[str, Any]  # the options in force
    optimizers: list[str]  # in the order of the search space
    class_names: list[str]
    class_counts: list[int]
    split_sizes: Mapping[str, int]  # train, validation, test
    data: Mapping[str, Any]  # folder or file, how many examples, length of a row, fingerprint
    space: Mapping[str, Any]  # name, fingerprint, the TOML as a table
    split_digests: Mapping[str, str]
    device: Mapping[str, Any]  # kind, name, dtype of the base; population and widths of programs
    versions: list[Mapping[str, str]]  # of packages; one set for each change, last: current
    weights: Mapping[str, str]  # source and digest
    created: str  # ISO 8601, UTC
    git_commit: str | None
    looks: list[Look]  # in ascending order of repeats
    code: Mapping[str, Mapping[str, str]]  # the user's optimizers
    finished: bool = False
    partial: str = ""  # why the study ended early, in words; empty if it did not
    runs: int = 0  # of a finished study
    seconds: Mapping[str, float] = field(default_factory=dict)  # features, search

    @property
    def asked(self) -> tuple[str, ...]:
        """The optimizers that the study is asked about; (): which may be used."""
        return asked_about(str(self.settings["ask"]), self.optimizers)

    @property
    def metric(self) -> str:
        """The metric that judges epochs, trials and optimizers."""
        return str(self.settings["metric"])

    @property
    def metric_words(self) -> str:
        """The metric as a sentence has it."""
        return WORDS[self.metric]

    @property
    def unbalanced(self) -> bool:
        """Whether the largest class has at least `UNBALANCED` times the images of the smallest."""
        counts = self.class_counts
        return len(counts) > 1 and max(counts) >= UNBALANCED * min(counts)

    @property
    def one_split(self) -> bool:
        """Whether all repeats share one split, so that nothing is known of other images."""
        return self.settings["split"] in ("keras", "folders")

    @property
    def base(self) -> str:
        """The frozen base of a study of images, a name or a file as it was given."""
        return str(self.settings["base"])

    @property
    def noun(self) -> str:
        """One example of the study's data in words: "image", or "row" of a file of the user's."""
        return "row" if "rows" in self.data else "image"

    @property
    def white_points(self) -> Mapping[str, Mapping[str, float]]:
        """The numbers that are black and white in 16/32-bit grey images, by kind; often none."""
        grey: Mapping[str, Any] = self.data.get("deep_grey", {"white_points": {}})
        points: Mapping[str, Mapping[str, float]] = grey["white_points"]
        return points


def asked_about(ask: str, optimizers: Sequence[str]) -> tuple[str, ...]:
    """Return the optimizers that a question names, each once; () for BEST."""
    if ask == BEST:
        return ()
    names = optimizers if ask == ALL else map(str.strip, ask.split(","))
    return tuple(dict.fromkeys(names))


def save_meta(study: Path, meta: StudyMeta) -> None:
    """Write `study.json` atomically."""
    table = {"format": FORMAT, **asdict(meta)}
    text = json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if not text.isascii():  # names that are not valid text keep their bytes as escapes
        text = re.sub(r"[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    write_atomically(study / STUDY_FILE, text)


def load_meta(study: Path) -> StudyMeta:
    """Return the content of `study.json`.

    Raises:
        UserError: the file is missing or damaged, or another version wrote it.
    """
    path = study / STUDY_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        meta = checked(without_format(table, str(path), absent=0), StudyMeta)
        for needed in (EVERY, OF_ROWS if meta.noun == "row" else OF_IMAGES):
            for key, names in needed.items():
                need(getattr(meta, key), names)
        for versions in meta.versions:
            need(versions, ("python", *PACKAGES))
        if not meta.versions or not meta.looks:
            raise ValueError("versions or looks are missing")
        if len(meta.class_counts) != len(meta.class_names):
            raise ValueError("class_counts and class_names differ in length")
        if min(meta.class_counts, default=0) < 0 or min(meta.split_sizes.values()) < 0:
            raise ValueError("class_counts or split_sizes are negative")
        repeats = [look.repeats for look in meta.looks]
        if repeats != sorted(repeats) or not 0 < repeats[0] <= repeats[-1] <= MOST_REPEATS:
            raise ValueError("looks are not in ascending order, or out of range")
        if not all(0 < look.alpha < 1 for look in meta.looks):
            raise ValueError("looks have an error rate outside 0 to 1")
        if not 0 < float(meta.settings["margin"]) <= 100:
            raise ValueError(f"margin is {meta.settings['margin']!r}, outside 0 to 100")
        if meta.metric not in WORDS:
            raise ValueError(f"metric {meta.metric!r} is unknown")
        if strange := set(meta.asked) - set(meta.optimizers):
            raise ValueError(f"ask: {min(strange)!r} is not an optimizer of the study")
    except FileNotFoundError:
        raise UserError(f"no study at {study}: {STUDY_FILE} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error
    return meta
