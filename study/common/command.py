"""What the commands share: a mistake is one sentence, in the words of the command line.

A `UserError` names an argument as the library has it, in backquotes: "`image_size` must be ...".
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from study.common.errors import CodeError, UserError

MISTAKE = 2  # the exit code of a mistake that the user can mend


def in_flags(sentence: str, given: object) -> str:
    """The sentence with `image_size` as --image-size, where `given` has such an option."""

    def flag(found: re.Match[str]) -> str:
        return "--" + found[1].replace("_", "-") if found[1] in vars(given) else found[0]

    return re.sub(r"`(\w+)`", flag, sentence)


def complain(error: UserError, given: object) -> int:
    """Print a mistake on standard error, user's code with its traceback; returns the exit code."""
    if isinstance(error, CodeError):
        print("\n".join(error.traceback_lines()), file=sys.stderr)
    print(f"error: {in_flags(str(error), given)}", file=sys.stderr)
    return MISTAKE


def add_study(parser: argparse.ArgumentParser, words: str = "", **more: Any) -> None:
    """The options of a command that reads a study: --study, with `words` and `more`, and --logs."""
    text = f"name of the study; default: the newest{words}"
    parser.add_argument("--study", metavar="NAME", help=text, **more)
    parser.add_argument(
        "--logs",
        type=Path,
        default=Path("logs"),
        metavar="DIR",
        help="folder of the studies (default: logs)",
    )
