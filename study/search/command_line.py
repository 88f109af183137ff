"""The command line of a search, or the arguments of `study.run`, come in; `Options` go out.

A value comes from the user, else from the search space's `[study]` table, else from the default;
wherever it comes from, the same check names its key and its place. The built-in faces have defaults
of their own: with more training photos every optimizer reaches 1.0 and a study shows nothing. The
base decides preparation, image size and name unless the user does. Each of several bases gets a
study, named SPACE-TUNER for VGG16, SPACE-TUNER-BASE for another base, and NAME-BASE where the user
gave a name.
"""

import argparse
import itertools
import os
import reprlib
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path, PurePath
from typing import Any

from study.common import command
from study.common.bases import DEFAULT_BASE, check_size, is_file, preprocess_of, short_name
from study.common.errors import UserError
from study.common.text import join, near, number
from study.features.keras_archive import input_size
from study.search.options import OPTIONS, Option, Options, in_name

MOST_BYTES = 40  # of a base in a study's name
ONCE = ("overwrite", "dry_run")  # are not repeated to resume a study
DESCRIPTION = """\
Tune every optimizer on your images with the same budget, then rank them all.
The same command resumes a study. Defaults are in brackets.

  {start} --tuner hyperband       # the built-in faces
  {start} --data my_photos        # a subfolder for each class
  {start} --data my_photos --space quick --optimizers adam,sgd"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line as texts; None: not given."""
    everything = "--help-all" in (sys.argv if argv is None else argv)
    arguments = command.parse(_parser(everything), argv)
    if arguments.space is None:
        arguments.space = OPTIONS["space"].default
    return arguments


def _parser(everything: bool) -> argparse.ArgumentParser:
    """Return the parser; its help has the rare options with `everything`."""
    start = command.typed("search")
    top = argparse.ArgumentParser(
        prog=start,
        usage=f"{start} [options]",
        description=DESCRIPTION.format(start=start),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=25),
        add_help=False,
    )
    titles = dict.fromkeys(one.group for one in OPTIONS.values())
    groups = {title: top.add_argument_group(title) for title in titles}
    for key, one in OPTIONS.items():
        kind: dict[str, Any] = {"action": "store_true"}
        if one.rule.read is not None:
            kind = {"action": "append" if one.many else "store", "metavar": one.rule.metavar}
        shown = help_of(one) if everything or not one.rare else argparse.SUPPRESS
        groups[one.group].add_argument(command.flag(key), help=shown, **kind)
    last = top.add_argument_group("help")
    last.add_argument("-h", "--help", action="help", help="show this help")
    last.add_argument("--help-all", action="help", help=f"show all {len(OPTIONS)} options")
    return top


def help_of(one: Option) -> str:
    """Return the help of an option with its default, in brackets."""
    default = one.unset or one.default
    if default in (None, False, ()):
        return one.help
    faces = "" if one.faces is None else f"; faces {one.faces}"
    return f"{one.help} [{number(default)}{faces}]"


def as_arguments(**values: Any) -> argparse.Namespace:
    """Return the arguments of `study.run` as `parse` returns those of a command line.

    Raises:
        UserError: an option is unknown, or a value is not valid.
    """
    arguments = parse([])
    for key, value in values.items():
        if key not in OPTIONS:
            raise UserError(
                f"`{key}`: unknown option{near(key, OPTIONS)}; valid: {', '.join(OPTIONS)}"
            )
        if value is not None:
            plain = _plain(value)
            several = OPTIONS[key].many and not isinstance(plain, list)
            setattr(arguments, key, [plain] if several else plain)
    given_values(arguments)  # some are needed before the space is read
    for key, value in vars(arguments).items():
        if not isinstance(value, bool | list | None):
            setattr(arguments, key, str(value))
    return arguments


def _plain(value: Any) -> Any:
    """Return paths as texts, tuples as lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def given_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the options that the user gave, each in its type; refuse wrong ones."""
    values: dict[str, Any] = {}
    for key, one in OPTIONS.items():
        value = getattr(arguments, key)
        if one.many and value is not None:
            values[key] = tuple(checked(each, one, f"`{key}`") for each in value)
        elif value is not None:
            values[key] = checked(value, one, f"`{key}`")
    return values


def checked(value: Any, one: Option, where: str) -> Any:
    """Return a value in its type, from a text, a TOML value or a Python value.

    Raises:
        UserError: the value is not valid; the message begins with `where`.
    """
    received, rule = f"{where}: received {reprlib.repr(value)}", one.rule
    if wrong := command.windows_path(value, rule.metavar):
        raise UserError(f"{where}: {wrong}")
    names = isinstance(value, list) and all(isinstance(item, str) for item in value)
    text = ",".join(value) if names else str(value)
    if rule.choices and text not in rule.choices:
        raise UserError(f"{received}; valid: {', '.join(rule.choices)}")
    if rule.read is None and isinstance(value, bool):
        return value
    try:
        plain = names or (isinstance(value, str | Real) and not isinstance(value, bool))
        if rule.read is None or not plain:
            raise ValueError
        return rule.read(text)
    except ValueError:
        raise UserError(f"{received}, but needs {rule.words}") from None


def bases_of(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> list[str]:
    """Return the bases A,B of the user, else of the search space, as they are written.

    Raises:
        UserError: a base is listed twice, or two files would have studies of the same name.
    """
    table = study_table if arguments.features is None else {}  # rows have no base
    given = arguments.base if arguments.base is not None else table.get("base", DEFAULT_BASE)
    if isinstance(given, str):  # a file's name may contain a comma
        bases = [given] if Path(given).is_file() else [name.strip() for name in given.split(",")]
    else:
        bases = list(map(str, given)) if isinstance(given, list) and given else [given]
    for one, other in itertools.combinations(bases, 2):
        if one == other:
            raise UserError(f"`base` {short_name(one)} is listed twice: remove one")
        if word_of(one) == word_of(other):
            raise UserError(
                f"`base` {one} and {other} would both be study ...-{word_of(one)}: rename one"
            )
    return bases


def each_base(arguments: argparse.Namespace, bases: Sequence[str]) -> Iterator[argparse.Namespace]:
    """Yield the arguments of the study of each base.

    If several bases include files, `preprocess` is for the files and `weights` for the others: the
    preparation of a named base is known, and a file contains its weights.
    """
    if len(bases) == 1:
        yield arguments
        return
    files = any(map(is_file, bases))
    for base in bases:
        own = argparse.Namespace(**{**vars(arguments), "base": base})
        if arguments.name is not None:
            own.name = f"{arguments.name}-{word_of(base)}"
        if files:
            setattr(own, "weights" if is_file(base) else "preprocess", None)
        yield own


def word_of(base: str) -> str:
    """Return a base in a study's name; of a file, the name without folder and ending."""
    if not is_file(base):
        return base
    return _plain_name(PurePath(base).stem, MOST_BYTES)


def _plain_name(text: str, most: int) -> str:
    """Return at most so many bytes of a text, with hyphens for what no study's name may have."""
    plain = "".join(character if in_name(character) else "-" for character in text)
    return plain.encode()[:most].decode(errors="ignore")


def resolve_options(
    arguments: argparse.Namespace, study_table: Mapping[str, Any], space_name: str
) -> Options:
    """Merge the user's values with the space's `[study]` table and the defaults.

    Raises:
        UserError: a key of the table is unknown, or a value is not valid.
    """
    place = f"search space {space_name}: study."
    valid = [key for key, one in OPTIONS.items() if one.reach == "space"]
    for key in study_table:
        if key not in valid:
            raise UserError(f"{place}{key}: unknown key; valid: {', '.join(valid)}")
    rows = arguments.features is not None
    if rows:
        study_table = _for_rows(arguments, study_table)
    own_data = {"data", "labels"} & study_table.keys() or arguments.data or arguments.labels
    faces = not rows and not own_data
    values = {
        key: one.default if one.faces is None or not faces else one.faces
        for key, one in OPTIONS.items()
    }
    tabled = {key: checked(one, OPTIONS[key], place + key) for key, one in study_table.items()}
    given = given_values(arguments)
    chosen = tabled | given
    values |= chosen
    _check_needs(given, values)
    _check_needs(tabled, values | tabled)
    _check_together(values)
    suffix = "" if rows else follow_base(values, chosen)
    if not values["name"]:
        space = _plain_name(space_name, 80 - len(suffix.encode())).lstrip(".-")
        values["name"] = f"{space or 'study'}-{values['tuner']}{suffix}"
    return Options(**values, command=_typed(given))


def _typed(given: Mapping[str, Any]) -> str:
    """Return the command that resumes a study, from what the user gave."""
    words: list[object] = []
    for key, value in given.items():
        flag = command.flag(key)
        if key in ONCE or value == OPTIONS[key].default:
            continue
        each = value if OPTIONS[key].many else [value]
        words += [flag] if value is True else [word for one in each for word in (flag, one)]
    return command.typed("search", *words)


def _for_rows(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the space's table without options of images; refuse those of the user."""
    of_images = {key for key, one in OPTIONS.items() if one.only_for == "images"}
    asked = sorted(key for key in of_images if getattr(arguments, key) not in (None, False))
    if asked:
        raise UserError(f"`{asked[0]}` is for images, but `features` are rows: drop one of the two")
    return {key: value for key, value in study_table.items() if key not in of_images}


def _check_needs(given: Iterable[str], values: Mapping[str, Any]) -> None:
    """Refuse an option that has no effect with the others; a table's are checked by themselves."""
    for key in given:
        other, useful = OPTIONS[key].needs or (key, ())
        if useful and values[other] not in useful:
            raise UserError(
                f"`{key}` {values[key]} has no effect with `{other}` {values[other]}: drop it, or "
                f"use `{other}` {join(useful, 'or')}"
            )


def _check_together(values: Mapping[str, Any]) -> None:
    if values["validation_split"] + values["test_split"] >= 1:
        raise UserError(
            f"`validation_split` {values['validation_split']} and `test_split` "
            f"{values['test_split']} leave nothing to train on: keep their sum below 1"
        )
    if values["split"] == "keras" and values["features"] is not None:
        raise UserError(
            "`split` keras divides a folder of images, but `features` are rows: use `split` "
            "stratified"
        )
    if values["split"] == "keras" and values["test_split"]:
        raise UserError(
            "`split` keras has no test set: set `test_split` to 0, or use `split` stratified"
        )


def follow_base(values: dict[str, Any], chosen: Container[str]) -> str:
    """Set the values that the base decides and are not `chosen`; return a suffix for the name.

    Raises:
        UserError: the base is unknown, does not take these values, or needs larger images.
    """
    base = values["base"]
    size = input_size(base) if is_file(base) else None
    if size is not None and "image_size" not in chosen:
        values["image_size"] = size
    values["preprocess"] = preprocess_of(base, values["preprocess"] or None)
    check_size(base, values["image_size"])
    return "" if base == DEFAULT_BASE else f"-{word_of(base)}"
