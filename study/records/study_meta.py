"""`study.json`: the options of a study, its data, splits, device and versions."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.metrics import WORDS
from study.common.text import printable_texts
from study.records.study_files import (
    FORMAT,
    STUDY_FILE,
    checked,
    damaged,
    need,
    parsed,
    without_format,
)

UNBALANCED = 3.0
MOST_REPEATS = 10_000
BEST, ALL = "best", "all"  # questions of a study, see `asked_about`
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "pillow")  # whose versions are kept

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=10**6)]
Names = list[str]


class Domain(Struct):
    """A table of a search space: a set or a range of values."""

    choices: list[Any] = []
    min: float | None = None
    max: float | None = None
    scale: str = ""

    def __post_init__(self) -> None:
        """Check that it is one of both."""
        least = 0 if self.scale == "log" else -math.inf
        if self.choices:
            return
        if self.min is None or self.max is None or not least < self.min <= self.max < math.inf:
            raise ValueError("neither choices nor a range from min to max")


Domains = dict[str, bool | float | str | list[Any] | Domain]


class SpaceTable(Struct):
    """What readers use of a search space."""

    optimizers: dict[str, Domains]
    head: Domains = {}
    schedules: dict[str, Domains] = {}

    def __post_init__(self) -> None:
        """Check that each optimizer has the name of its class."""
        if not all(isinstance(one.get("class"), str) for one in self.optimizers.values()):
            raise ValueError("an optimizer without class")


class WhitePoint(Struct):
    """The numbers that are black and white."""

    black: float
    white: float


def _table(*of: type[Struct], **kinds: Any) -> Any:
    """Return the type of a table with these keys, and those `of` another; it may have more."""
    return msgspec.defstruct("Table", list(kinds.items()), bases=of or None)


# What readers use of the tables in `study.json`.
SPACE = _table(name=str, fingerprint=str, table=SpaceTable)
SPLIT_SIZES = _table(train=Count, validation=Positive, test=Count)
SETTINGS = _table(
    split=str,
    tuner=str,
    max_epochs=Positive,
    trials=Positive,
    allocation=str,
    metric=Literal["accuracy", "balanced_accuracy", "macro_f1"],
    margin=Annotated[float, Meta(gt=0, le=100)],
    ask=str,
    repeats=Literal["auto"] | Positive,
    most_repeats=Positive,
    confirm=Positive,
    seed=int,
    population=Positive | None,
)
FACTS = _table(
    features=Positive,
    in_several_classes=list[Names],
    groups=Count,
    split_warnings=Names,
    fingerprint=str,
)
DEVICE = _table(kind=str, name=str, population=Positive | None, widths=list[Positive])
OF_ROWS = {
    "settings": SETTINGS,
    "data": _table(FACTS, file=str, rows=Positive, constant=list[Count]),
    "device": DEVICE,
    "weights": dict,
    "split_sizes": SPLIT_SIZES,
    "space": SPACE,
}
OF_IMAGES = OF_ROWS | {
    "settings": _table(
        SETTINGS,
        base=str,
        image_size=Positive,
        preprocess=str,
        views=Positive,
        weights=str,
        group=str | None,
        group_pattern=str | None,
    ),
    "data": _table(
        FACTS,
        folder=str,
        left_out=Names,
        left_out_reasons=dict[str, Count],
        flat=Names,
        dark=Names,
        shortcuts=Names,
        deep_grey=_table(white_points=dict[str, WhitePoint], doubts=Names),
        same_pixels=Count,
        near_copies=list[Names],
        subfolders=Names,
    ),
    "device": _table(DEVICE, dtype=str),
    "weights": _table(source=str, digest=str),
}


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
    # kind, name, dtype of the base; population and widths of programs; rounding, where it is known
    device: Mapping[str, Any]
    versions: list[Mapping[str, str]]  # of packages; one set for each change, last: current
    weights: Mapping[str, str]  # source and digest
    created: str  # ISO 8601, UTC
    git_commit: str | None
    looks: list[Look]  # in ascending order of repeats
    code: Mapping[str, Mapping[str, str]]  # the user's optimizers
    command: str  # that resumes it
    finished: bool = False
    partial: str = ""  # why the study ended early, in words; empty if it did not
    runs: int = 0  # of a finished study
    seconds: Mapping[str, float] = field(default_factory=dict)  # of the search

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
    def sample_weight(self) -> str:
        """The weights of examples in the training loss in words; "" without them."""
        return str(self.data.get("sample_weight", ""))

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
    write_atomically(study / STUDY_FILE, meta_text(meta))


def meta_text(meta: StudyMeta) -> str:
    """Return the content of `study.json`."""
    table = {"format": FORMAT, **asdict(meta)}
    text = json.dumps(printable_texts(table), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def _check_table(key: str, table: Mapping[str, Any], kind: Any) -> None:
    try:
        msgspec.convert(table, kind)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def load_meta(study: Path) -> StudyMeta:
    """Return the content of `study.json`.

    Raises:
        UserError: the file is missing or damaged, or another version wrote it.
    """
    path = study / STUDY_FILE
    try:
        table = parsed(path.read_bytes())
        meta = checked(without_format(table, str(path), absent=0), StudyMeta)
        for key, kind in (OF_ROWS if meta.noun == "row" else OF_IMAGES).items():
            _check_table(key, getattr(meta, key), kind)
        for versions in meta.versions:
            need(versions, ("python", *PACKAGES))
        if not meta.versions or not meta.looks or not meta.optimizers:
            raise ValueError("versions, looks or optimizers are missing")
        if len(meta.class_counts) != len(meta.class_names) or len(meta.class_counts) < 2:
            raise ValueError("class_counts and class_names differ in length, or are fewer than 2")
        if min(meta.class_counts) < 0 or meta.runs < 0:
            raise ValueError("class_counts or runs are negative")
        repeats = [look.repeats for look in meta.looks]
        if repeats != sorted(repeats) or not 0 < repeats[0] <= repeats[-1] <= MOST_REPEATS:
            raise ValueError("looks are not in ascending order, or out of range")
        if not all(0 < look.alpha < 1 for look in meta.looks):
            raise ValueError("looks have an error rate outside 0 to 1")
        if strange := set(meta.asked) - set(meta.optimizers):
            raise ValueError(f"ask: {min(strange)!r} is not an optimizer of the study")
    except FileNotFoundError:
        raise UserError(f"no study at {study}: {STUDY_FILE} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error
    return meta
