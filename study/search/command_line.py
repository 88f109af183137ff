"""The command line of a search, or the arguments of `study.run`, come in, checked `Options` go out.

A value comes from the user, else from the search space's `[study]` table, else from the default;
the built-in faces bring their own, because with more training photos every optimizer ends at 1.0
and a study shows nothing. Each value passes the same check wherever it stood, so a sentence about a
wrong one names its key and its place.
"""

import argparse
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from study.common import command
from study.common.errors import UserError
from study.search.bases import follow_base
from study.search.option_rules import Option, in_name
from study.search.options import OPTIONS, Options


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
