"""Arguments of `study.run` come in, what `parse` makes of a command line goes out."""

import argparse
import os
from typing import Any

from study.common.errors import UserError
from study.common.text import near
from study.search.command_line import checked, parse
from study.search.options import OPTIONS


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
