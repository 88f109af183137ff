"""The command line of a search, or the arguments of `study.run`, come in, checked `Options` go out.

Each option is declared once, as a field of `Options`: its type, its rule, its default, its help.
A value comes from the user, else from the search space's `[study]` table, else from the
default; the built-in faces bring their own, because with more training photos every optimizer ends
at 1.0 and a study shows nothing. Each value passes the same check wherever it stood, so a sentence
about a wrong one names its key and its place.
"""

import argparse
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path
from typing import Any

from study.common import command
from study.common.errors import UserError
from study.search.option_rules import (
    NAME,
    PATH,
    TEXT,
    Option,
    in_name,
    minutes,
    option,
    part,
    repeats,
    switch,
    whole,
)
from study.verdicts.looks import AUTO, DEFAULT_MARGIN, FEWEST_REPEATS, MARGIN_RULE, margin_points


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything a user can decide about a study."""

    data: str | None = option(
        TEXT, None, "images", "folder of class folders [the built-in faces]", continued="free"
    )
    strict: bool = switch("images", "refuse a folder with files that cannot be decoded")
    image_size: int = option(
        whole(32, 2048), 224, "images", "pixels a side [224; faces 112]", faces=112
    )
    preprocess: str = option(
        TEXT,
        "caffe",
        "images",
        "what VGG16 was trained with, or division by 255",
        choices=("caffe", "rescale"),
    )
    split: str = option(
        TEXT,
        "stratified",
        "images",
        "fresh stratified splits, Keras's one assignment, or folders train, val, test as they are",
        choices=("stratified", "keras", "folders"),
    )
    split_seed: int = option(whole(1, 2**32 - 1), 12, "images", "seed of --split keras [12]")
    validation_split: float = option(
        part(False), 0.2, "images", "part of all images [0.2; faces 0.4]", faces=0.4
    )
    test_split: float = option(
        part(True),
        0.2,
        "images",
        "part of all images put aside until the end, without a folder test [0.2; faces 0.3]",
        faces=0.3,
    )
    space: str = option(
        TEXT,
        "default",
        "search",
        "default, quick, blog_t11 or a .toml file [default]",
        in_space=False,
        continued="space",
    )
    optimizers: str | None = option(
        TEXT, None, "search", "only these, e.g. adam,sgd [all of the space]", continued="space"
    )
    code: tuple[Path, ...] = option(
        PATH, (), "search", "Python file with optimizers of your own, which is run; repeatable",
        in_space=False, decides=False, many=True,
    )  # fmt: skip
    tuner: str = option(
        TEXT,
        "hyperband",
        "search",
        "Keras Tuner's search method [hyperband]",
        choices=("hyperband", "random", "bayesian", "grid"),
    )
    max_epochs: int = option(whole(1, 100_000), 30, "search", "epochs of a full trial [30]")
    factor: int = option(whole(2, 100), 3, "search", "Hyperband keeps one in FACTOR a rung [3]")
    trials: int = option(
        whole(1, 1_000_000),
        20,
        "search",
        "trials a search, random, bayesian, grid [20]",
        continued="longer",
    )
    allocation: str = option(
        TEXT,
        "equal",
        "search",
        "a search for each optimizer, or one over all [equal]",
        choices=("equal", "joint"),
    )
    margin: float = option(
        (margin_points, MARGIN_RULE),
        DEFAULT_MARGIN,
        "search",
        "points of accuracy that may be lost: whoever is at most so far behind the best is good "
        f"enough [{DEFAULT_MARGIN:g}]",
        continued="free",
    )
    repeats: int | str = option(
        (repeats, f"auto, or {whole(1, 10_000)[1]}"),
        AUTO,
        "search",
        "whole searches with fresh splits and seed: as many as the answer takes, or this many "
        "[auto]",
        continued="looks",
    )
    most_repeats: int = option(
        whole(FEWEST_REPEATS, 10_000),
        27,
        "search",
        "--repeats auto ends there even if the answer is not known [27]",
        continued="looks",
    )
    confirm: int = option(
        whole(1, 10_000),
        5,
        "search",
        "reruns of each winner with fresh seeds, each on a fresh split [5]",
        continued="looks",
    )
    seed: int = option(whole(1, 10**18), 1, "search", "of everything random, 1 or more [1]")
    time_limit: float | None = option(
        (minutes, "minutes, above 0"),
        None,
        "search",
        "minutes after which no new trials start; winners so far are still confirmed",
        continued="free",
    )
    population: int | None = option(
        whole(1, 10_000),
        None,
        "machine",
        "heads trained at once [chosen for the device]",
        continued="free",
    )
    device: str | None = option(
        TEXT,
        None,
        "machine",
        "[the first GPU if there is one]",
        choices=("cpu", "gpu"),
        in_space=False,
        continued="free",
    )
    weights: str = option(
        TEXT,
        "auto",
        "machine",
        "auto, random, or an .h5 or .keras file [auto]",
        in_space=False,
        continued="weights",
    )
    name: str = option(
        NAME, None, "files", "of the study [SPACE-TUNER]", in_space=False, decides=False
    )
    overwrite: bool = switch("files", "delete the study of this name and start anew")
    logs: Path = option(
        PATH,
        Path("logs"),
        "files",
        "folder of all studies [logs]",
        in_space=False,
        decides=False,
    )
    cache_dir: Path | None = option(
        PATH,
        None,
        "files",
        "of the computed features [your cache folder]",
        in_space=False,
        decides=False,
    )
    dry_run: bool = switch("files", "print the plan and stop")

    def settings(self) -> dict[str, Any]:
        """What decides a study's result or its length; not where it is stored."""
        return {key: getattr(self, key) for key, one in OPTIONS.items() if one.decides}


OPTIONS: dict[str, Option] = {one.name: one.metadata["option"] for one in fields(Options)}


def parser() -> argparse.ArgumentParser:
    """The command line, grouped, with units and defaults in the help."""
    top = argparse.ArgumentParser(
        prog=command.typed("search"),
        description="Search the best hyperparameters of every optimizer on your images, with equal "
        "budgets, and rank the optimizers. The same command again resumes.",
        allow_abbrev=False,
    )
    groups = {
        title: top.add_argument_group(title) for title in ("images", "search", "machine", "files")
    }
    for key, one in OPTIONS.items():
        group = groups[one.group]
        if one.read is None:
            group.add_argument(_flag(key), action="store_true", help=one.help)
        else:
            metavar = "{" + ",".join(one.choices) + "}" if one.choices else None
            action = "append" if one.many else "store"
            group.add_argument(_flag(key), help=one.help, metavar=metavar, action=action)
    return top


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; values are checked later, together with the space's."""
    arguments = command.parse(parser(), argv)
    arguments.space = arguments.space or str(OPTIONS["space"].default)
    return arguments


def resolve_options(
    arguments: argparse.Namespace, study_table: Mapping[str, Any], space_name: str
) -> Options:
    """Merge what the user gave with the space's `[study]` table and the defaults.

    Raises:
        UserError: a key of the table is unknown, or a value is not valid.
    """
    place = f"search space {space_name}: study."
    valid = [key for key, one in OPTIONS.items() if one.in_space]
    for key in study_table:
        if key not in valid:
            raise UserError(f"{place}{key}: unknown key; valid: {', '.join(valid)}")
    faces = arguments.data is None and "data" not in study_table
    values: dict[str, Any] = {}
    for key, one in OPTIONS.items():
        value = getattr(arguments, key)
        if one.many:
            values[key] = tuple(checked(text, one, f"`{key}`") for text in value or ())
        elif value is not None:
            values[key] = checked(value, one, f"`{key}`")
        elif key in study_table:
            values[key] = checked(study_table[key], one, f"{place}{key}")
        else:
            own = faces and one.faces is not None
            values[key] = one.faces if own else one.default
    _check_together(values)
    values["name"] = values["name"] or _default_name(space_name, values["tuner"])
    return Options(**values)


def _check_together(values: Mapping[str, Any]) -> None:
    if values["validation_split"] + values["test_split"] >= 1:
        raise UserError(
            f"`validation_split` {values['validation_split']} and `test_split` "
            f"{values['test_split']} leave nothing to train on; together they must stay below 1"
        )
    if values["split"] == "keras" and values["test_split"]:
        raise UserError(
            "`split` keras knows no test set; set `test_split` 0 or use `split` stratified"
        )


def _default_name(space_name: str, tuner: str) -> str:
    """SPACE-TUNER; what a file's name may have and a study's may not becomes a hyphen."""
    plain = "".join(c if in_name(c) else "-" for c in space_name).encode()[:80]
    return f"{plain.decode(errors='ignore').lstrip('.-') or 'study'}-{tuner}"


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def checked(value: Any, one: Option, where: str) -> Any:
    """A value in its type; it comes as a text, as TOML or as Python has it."""
    received = f"{where}: received {reprlib.repr(value)}"
    names = isinstance(value, list) and all(isinstance(item, str) for item in value)
    text = ",".join(value) if names else str(value)
    if one.choices and text not in one.choices:
        raise UserError(f"{received}; valid: {', '.join(one.choices)}")
    try:
        if one.read is None:
            if isinstance(value, bool):
                return value
            raise ValueError
        if not names and (isinstance(value, bool) or not isinstance(value, str | Real)):
            raise ValueError
        return one.read(text)
    except ValueError:
        raise UserError(f"{received}, but needs {one.rule}") from None
