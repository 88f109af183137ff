"""The command line of a search or the arguments of `study.run` come in, checked `Options` go out.

A value comes from the user, else from the search space's `[study]` table, else from the default.
The built-in faces have defaults of their own: with more training photos every optimizer ends at 1.0
and a study shows nothing. Each value passes the same check wherever it comes from, so a refusal
names its key and its place.

The base decides preparation, image size and name where the user does not. Several bases make a
study each, told apart by name: SPACE-TUNER for VGG16, SPACE-TUNER-BASE for another one, NAME-BASE
where a name was given for several.
"""

import argparse
import os
import reprlib
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from numbers import Real
from pathlib import Path, PurePath
from typing import Any

from study.common import command
from study.common.bases import DEFAULT_BASE, check_size, is_file, preprocess_of, short_name
from study.common.errors import UserError
from study.common.text import near, number
from study.features.keras_archive import input_size
from study.search.options import OPTIONS, Option, Options, in_name

MOST_BYTES = 40  # of a base in a study's name
DESCRIPTION = """\
Tune every optimizer on your images with the same budget, then rank them all.
The same command again resumes a study. Defaults are in brackets.

  {start} --tuner hyperband       # the built-in faces
  {start} --data my_photos        # a subfolder for each class
  {start} --data my_photos --space quick --optimizers adam,sgd"""


def bases_of(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> list[str]:
    """Return the bases that the user or else the space names, A,B, as they are written.

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
    """Yield the arguments of the study of each base; the given ones, where there is one base.

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


def follow_base(values: dict[str, Any], chosen: Container[str]) -> str:
    """Set what the base decides and was not `chosen`; return what the study's name ends with.

    Raises:
        UserError: no such base, one that does not take this, or images too small for it.
    """
    base = values["base"]
    size = input_size(base) if is_file(base) else None
    if size is not None and "image_size" not in chosen:
        values["image_size"] = size
    values["preprocess"] = preprocess_of(base, values["preprocess"] or None)
    check_size(base, values["image_size"])
    return "" if base == DEFAULT_BASE else f"-{word_of(base)}"


def word_of(base: str) -> str:
    """Return the base in a study's name: its name, or the file's without folder and ending."""
    if not is_file(base):
        return base
    plain = "".join(c if in_name(c) else "-" for c in PurePath(base).stem)
    return plain.encode()[:MOST_BYTES].decode(errors="ignore")


def parser(everything: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the command line; its help has the rare options with `everything`."""
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
    last.add_argument("-h", "--help", action="help", help="show this")
    last.add_argument("--help-all", action="help", help=f"show all {len(OPTIONS)} options")
    return top


def help_of(one: Option) -> str:
    """Return the help of an option with its default, in brackets."""
    default = one.unset or one.default
    if default in (None, False, ()):
        return one.help
    faces = "" if one.faces is None else f"; faces {one.faces}"
    return f"{one.help} [{number(default)}{faces}]"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line gives, as texts; None: not given."""
    everything = "--help-all" in (sys.argv if argv is None else argv)
    arguments = command.parse(parser(everything), argv)
    if arguments.space is None:
        arguments.space = OPTIONS["space"].default
    return arguments


def given_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the options that the user gave, each in its type.

    Raises:
        UserError: a value is not valid.
    """
    values: dict[str, Any] = {}
    for key, one in OPTIONS.items():
        value = getattr(arguments, key)
        if one.many and value is not None:
            values[key] = tuple(checked(each, one, f"`{key}`") for each in value)
        elif value is not None:
            values[key] = checked(value, one, f"`{key}`")
    return values


def resolve_options(
    arguments: argparse.Namespace, study_table: Mapping[str, Any], space_name: str
) -> Options:
    """Merge what the user gave with the space's `[study]` table and the defaults.

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
        study_table = _of_rows(arguments, study_table)
    brought = {"data", "labels"} & study_table.keys() or arguments.data or arguments.labels
    faces = not rows and not brought
    values = {
        key: one.default if one.faces is None or not faces else one.faces
        for key, one in OPTIONS.items()
    }
    chosen = {
        **{key: checked(value, OPTIONS[key], place + key) for key, value in study_table.items()},
        **given_values(arguments),
    }
    values |= chosen
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


def checked(value: Any, one: Option, where: str) -> Any:
    """Return a value in its type; it comes as a text, as TOML or as Python has it.

    Raises:
        UserError: it is not valid; the sentence begins with `where`.
    """
    received, rule = f"{where}: received {reprlib.repr(value)}", one.rule
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


def as_arguments(**values: Any) -> argparse.Namespace:
    """Return arguments of `study.run` as `parse` has those of a command line; None: not given.

    Raises:
        UserError: there is no such option, or a value is not valid.
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
