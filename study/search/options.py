"""The command line of a search comes in, checked `Options` go out.

A value comes from the command line, else from the search space's `[study]` table, else from the
defaults below; the built-in faces bring their own, because with more training photos every
optimizer ends at 1.0 and a study shows nothing. Each value passes the same check wherever it
stood, so a sentence about a wrong one names its key and its place.
"""

import argparse
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from study.common.errors import UserError


@dataclass(frozen=True)
class Options:
    """Everything a user can decide about a study."""

    data: str | None  # folder of class folders; None: the built-in faces
    strict: bool
    image_size: int  # pixels a side
    preprocess: str
    split: str  # "stratified", or "keras" for the assignment of image_dataset_from_directory
    split_seed: int  # of the Keras split only
    validation_split: float  # part of all images
    test_split: float  # part of all images; 0: no test set
    space: str
    optimizers: str | None  # comma-separated; None: all of the space
    tuner: str
    max_epochs: int
    factor: int
    trials: int
    allocation: str
    repeats: int
    confirm: int
    seed: int
    time_limit: float | None  # minutes
    population: int | None  # heads in flight; None: chosen for the device
    device: str | None
    weights: str
    name: str
    overwrite: bool
    logs: Path
    cache_dir: Path | None
    dry_run: bool

    def settings(self) -> dict[str, Any]:
        """What decides a study's result or its length; not where it is stored."""
        table = asdict(self)
        for key in ("strict", "name", "overwrite", "logs", "cache_dir", "dry_run"):
            del table[key]
        return table


class _Option(NamedTuple):
    read: Callable[[str], Any]
    rule: str
    default: Any
    group: str
    help: str
    choices: tuple[str, ...] = ()
    in_space: bool = True  # may stand in a search space's [study] table


def _whole(low: int, high: int) -> tuple[Callable[[str], int], str]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return read, f"a whole number, at least {low} and at most {high:,}"


def _part(low_allowed: bool) -> tuple[Callable[[str], float], str]:
    def read(text: str) -> float:
        value = float(text)
        if not (0 <= value < 1) or (value == 0 and not low_allowed):
            raise ValueError
        return value

    return read, f"a part of the images, {'0' if low_allowed else 'above 0'} to below 1"


def _minutes(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


def _study_name(text: str) -> str:
    if text.startswith((".", "-")) or not all(map(_in_name, text)) or len(text.encode()) > 100:
        raise ValueError
    return _text(text)


def _in_name(character: str) -> bool:
    return character.isalnum() or character in "-_."


_ANY = (_text, "a text")
FACES = {"image_size": 112, "validation_split": 0.4, "test_split": 0.3}
OPTIONS: dict[str, _Option] = {
    "data": _Option(*_ANY, None, "images", "folder of class folders [the built-in faces]"),
    "image_size": _Option(*_whole(32, 2048), 224, "images", "pixels a side [224; faces 112]"),
    "preprocess": _Option(
        *_ANY, "caffe", "images", "what VGG16 was trained with, or division by 255",
        ("caffe", "rescale"),
    ),
    "split": _Option(
        *_ANY, "stratified", "images", "fresh stratified splits, or Keras's one assignment",
        ("stratified", "keras"),
    ),
    "split_seed": _Option(*_whole(1, 2**32 - 1), 12, "images", "seed of --split keras [12]"),
    "validation_split": _Option(
        *_part(False), 0.2, "images", "part of all images [0.2; faces 0.4]"
    ),
    "test_split": _Option(
        *_part(True), 0.2, "images", "part of all images put aside until the end [0.2; faces 0.3]"
    ),
    "space": _Option(
        *_ANY, "default", "search", "default, quick, blog_t11 or a .toml file [default]",
        in_space=False,
    ),
    "optimizers": _Option(*_ANY, None, "search", "only these, e.g. adam,sgd [all of the space]"),
    "tuner": _Option(
        *_ANY, "hyperband", "search", "Keras Tuner's search method [hyperband]",
        ("hyperband", "random", "bayesian", "grid"),
    ),
    "max_epochs": _Option(*_whole(1, 100_000), 30, "search", "epochs of a full trial [30]"),
    "factor": _Option(*_whole(2, 100), 3, "search", "Hyperband keeps one in FACTOR a rung [3]"),
    "trials": _Option(
        *_whole(1, 1_000_000), 20, "search", "trials a search, random, bayesian, grid [20]"
    ),
    "allocation": _Option(
        *_ANY, "equal", "search", "a search for each optimizer, or one over all [equal]",
        ("equal", "joint"),
    ),
    "repeats": _Option(
        *_whole(1, 10_000), 5, "search", "whole searches with fresh split and seed [5]"
    ),
    "confirm": _Option(
        *_whole(1, 10_000), 3, "search", "reruns of each winner with fresh seeds [3]"
    ),
    "seed": _Option(*_whole(1, 10**18), 1, "search", "of everything random, 1 or more [1]"),
    "time_limit": _Option(
        _minutes, "minutes, above 0", None, "search",
        "minutes after which no new trials start; winners so far are still confirmed",
    ),
    "population": _Option(
        *_whole(1, 10_000), None, "machine", "heads trained at once [chosen for the device]"
    ),
    "device": _Option(
        *_ANY, None, "machine", "[the first GPU if there is one]", ("cpu", "gpu"), in_space=False
    ),
    "weights": _Option(
        *_ANY, "auto", "machine", "auto, random, or an .h5 or .keras file [auto]", in_space=False
    ),
    "name": _Option(
        _study_name, "letters, digits, - _ and . (at most 100 bytes, not . or - first)", None,
        "files", "of the study [SPACE-TUNER]", in_space=False,
    ),
    "logs": _Option(*_ANY, "logs", "files", "folder of all studies [logs]", in_space=False),
    "cache_dir": _Option(
        *_ANY, None, "files", "of the computed features [your cache folder]", in_space=False
    ),
}  # fmt: skip
_FLAGS = {
    "strict": ("images", "refuse a folder with files that cannot be decoded"),
    "overwrite": ("files", "delete the study of this name and start anew"),
    "dry_run": ("files", "print the plan and stop"),
}


def parser() -> argparse.ArgumentParser:
    """The command line, grouped, with units and defaults in the help."""
    top = argparse.ArgumentParser(
        prog="python -m study.search",
        description="Search the best hyperparameters of every optimizer on your images, with equal "
        "budgets, and rank the optimizers. The same command again resumes.",
        allow_abbrev=False,
    )
    groups = {
        title: top.add_argument_group(title) for title in ("images", "search", "machine", "files")
    }
    for key, option in OPTIONS.items():
        metavar = "{" + ",".join(option.choices) + "}" if option.choices else None
        groups[option.group].add_argument(_flag(key), help=option.help, metavar=metavar)
    for key, (group, text) in _FLAGS.items():
        groups[group].add_argument(_flag(key), action="store_true", help=text)
    return top


def resolve_options(
    arguments: argparse.Namespace, study_table: Mapping[str, Any], space_name: str
) -> Options:
    """Merge the command line with the space's `[study]` table and the defaults.

    Raises:
        UserError: a key of the table is unknown, or a value is not valid.
    """
    valid = [key for key, option in OPTIONS.items() if option.in_space]
    for key in study_table:
        if key not in valid:
            raise UserError(
                f"search space {space_name}: study.{key}: unknown key; valid: {', '.join(valid)}"
            )
    values: dict[str, Any] = {key: getattr(arguments, key) for key in _FLAGS}
    faces = arguments.data is None and "data" not in study_table
    for key, option in OPTIONS.items():
        given = getattr(arguments, key)
        if given is not None:
            values[key] = _checked(given, option, _flag(key))
        elif key in study_table:
            where = f"search space {space_name}: study.{key}"
            values[key] = _checked(study_table[key], option, where)
        else:
            values[key] = FACES[key] if faces and key in FACES else option.default
    if values["validation_split"] + values["test_split"] >= 1:
        raise UserError(
            f"--validation-split {values['validation_split']} and --test-split "
            f"{values['test_split']} leave nothing to train on; together they must stay below 1"
        )
    if values["split"] == "keras" and values["test_split"]:
        raise UserError(
            "--split keras knows no test set; set --test-split 0 or use --split stratified"
        )
    values["name"] = values["name"] or _default_name(space_name, values["tuner"])
    values["logs"] = Path(values["logs"])
    values["cache_dir"] = Path(values["cache_dir"]) if values["cache_dir"] else None
    return Options(**values)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; values are checked later, together with the space's."""
    arguments = parser().parse_args(argv)
    arguments.space = arguments.space or str(OPTIONS["space"].default)
    return arguments


def _default_name(space_name: str, tuner: str) -> str:
    """SPACE-TUNER; what a file's name may have and a study's may not becomes a hyphen."""
    plain = "".join(c if _in_name(c) else "-" for c in space_name).encode()[:80]
    return f"{plain.decode(errors='ignore').lstrip('.-') or 'study'}-{tuner}"


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _checked(value: Any, option: _Option, where: str) -> Any:
    """A value in its type; it comes as a text, or as TOML has it."""
    received = f"{where}: received {reprlib.repr(value)}"
    names = isinstance(value, list) and all(isinstance(item, str) for item in value)
    text = ",".join(value) if names else str(value)
    if option.choices and text not in option.choices:
        raise UserError(f"{received}; valid: {', '.join(option.choices)}")
    try:
        if not names and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            raise ValueError
        return option.read(text)
    except ValueError:
        raise UserError(f"{received}, but needs {option.rule}") from None
