"""The command line of a search, or the arguments of `study.run`, come in, checked `Options` go out.

A value comes from the user, else from the search space's `[study]` table, else from the default;
the built-in faces bring their own, because with more training photos every optimizer ends at 1.0
and a study shows nothing. Each value passes the same check wherever it stood, so a sentence about a
wrong one names its key and its place.

Arguments of `study.run` come in, what `parse` makes of a command line goes out.

What follows from `--base` in a study's options, and one study a base where several are named.

In: what the user gave. Out: preparation, image size and name that the base decides, and options
for each of several bases, whose studies are told apart by name: SPACE-TUNER for VGG16, as ever,
SPACE-TUNER-BASE for another one, NAME-BASE where a name was given for several.
"""

import argparse
import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path, PurePath
from typing import Any

from study.common import command
from study.common.bases import DEFAULT_BASE, check_size, is_file, preprocess_of, short_name
from study.common.errors import UserError
from study.common.text import near
from study.features.keras_archive import input_size
from study.search.option_rules import Option, in_name
from study.search.options import OPTIONS, Options

MOST_BYTES = 40  # of a base in a study's name


def bases_of(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> list[str]:
    """The bases that were named, A,B, by the user or else by the space; as they stand there.

    Raises:
        UserError: one is named twice, or two files would have studies of one name.
    """
    table = study_table if arguments.features is None else {}  # rows have no base
    given = arguments.base if arguments.base is not None else table.get("base", DEFAULT_BASE)
    if isinstance(given, str):  # a comma may stand in a file's name
        bases = [given] if Path(given).is_file() else [name.strip() for name in given.split(",")]
    else:
        bases = list(map(str, given)) if isinstance(given, list) and given else [given]
    for place, base in enumerate(bases):
        for other in bases[:place]:
            if base == other:
                raise UserError(f"`base` {short_name(base)} is named twice; once is enough")
            if word_of(base) == word_of(other):
                raise UserError(
                    f"`base` {other} and {base} would both be study ...-{word_of(base)}: rename one"
                )
    return bases


def each_base(arguments: argparse.Namespace, bases: Sequence[str]) -> Iterator[argparse.Namespace]:
    """The arguments of the study of each base; those given, where there is one.

    If files are among several bases, `preprocess` speaks of them and `weights` of the others: a
    named base knows how it was trained, a file brings its weights.
    """
    if len(bases) == 1:
        yield arguments
        return
    files = any(map(is_file, bases))
    for base in bases:
        own = argparse.Namespace(**{**vars(arguments), "base": base})
        if arguments.name is not None:
            own.name = f"{arguments.name}-{word_of(base)}"
        if files and is_file(base):
            own.weights = None
        elif files:
            own.preprocess = None
        yield own


def follow_base(values: dict[str, Any], chosen: set[str]) -> str:
    """Set what the base decides and was not `chosen`; returns what the study's name ends with.

    Raises:
        UserError: no such base, one that does not take this, or images too small for it.
    """
    base = values["base"]
    size = input_size(base) if is_file(base) else None
    if size is not None and "image_size" not in chosen:
        values["image_size"] = size
    values["preprocess"] = preprocess_of(base, values["preprocess"])
    check_size(base, values["image_size"])
    return "" if base == DEFAULT_BASE else f"-{word_of(base)}"


def word_of(base: str) -> str:
    """The base in a study's name: its name, or the file's without folder and ending."""
    if not is_file(base):
        return base
    plain = "".join(c if in_name(c) else "-" for c in PurePath(base).stem)
    return plain.encode()[:MOST_BYTES].decode(errors="ignore")


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
    rows = arguments.features is not None
    if rows:
        study_table = _of_rows(arguments, study_table)
    chosen = {key for key in OPTIONS if getattr(arguments, key) is not None} | study_table.keys()
    brought = {"data", "labels"} & study_table.keys() or arguments.data or arguments.labels
    faces = not rows and not brought
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
    suffix = "" if rows else follow_base(values, chosen)
    values["name"] = values["name"] or _default_name(space_name, values["tuner"], suffix)
    return Options(**values)


def _of_rows(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The space's table without what only images have; the user may not ask for that."""
    of_images = {key for key, one in OPTIONS.items() if one.only_for == "images"}
    asked = sorted(key for key in of_images if getattr(arguments, key) not in (None, False))
    if asked:
        raise UserError(
            f"`features` are rows, taken as they are, so `{asked[0]}`, which is about images, does "
            "not apply: leave out one of the two"
        )
    return {key: value for key, value in study_table.items() if key not in of_images}


def _check_together(values: Mapping[str, Any]) -> None:
    if values["validation_split"] + values["test_split"] >= 1:
        raise UserError(
            f"`validation_split` {values['validation_split']} and `test_split` "
            f"{values['test_split']} leave nothing to train on; together they must stay below 1"
        )
    if values["split"] == "keras" and values["features"] is not None:
        raise UserError(
            "`split` keras is that of a folder of images, and `features` are rows: use `split` "
            "stratified"
        )
    if values["split"] == "keras" and values["test_split"]:
        raise UserError(
            "`split` keras knows no test set; set `test_split` 0 or use `split` stratified"
        )


def _default_name(space_name: str, tuner: str, suffix: str) -> str:
    """SPACE-TUNER, then -BASE but for the first one; a sign that no name may have is a hyphen."""
    plain = "".join(c if in_name(c) else "-" for c in space_name).encode()
    plain = plain[: 80 - len(suffix.encode())]
    return f"{plain.decode(errors='ignore').lstrip('.-') or 'study'}-{tuner}{suffix}"


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


def as_arguments(**values: Any) -> argparse.Namespace:
    """Arguments of `study.run` as `parse` has those of a command line; None: not given.

    Raises:
        UserError: there is no such option, or a value is not valid.
    """
    arguments = parse([])
    for key, value in values.items():
        if key not in OPTIONS:
            raise UserError(
                f"`{key}`: unknown option{near(key, OPTIONS)}; valid: {', '.join(OPTIONS)}"
            )
        if value is None:
            continue
        plain, one = _plain(value), OPTIONS[key]
        if one.many and not isinstance(plain, list):
            plain = [plain]
        for each in plain if one.many else [plain]:
            checked(each, one, f"`{key}`")  # some are needed before the space is read
        setattr(arguments, key, plain if isinstance(plain, bool | list) else str(plain))
    return arguments


def _plain(value: Any) -> Any:
    """Paths as texts, tuples as lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
