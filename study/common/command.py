"""What all commands share: parsing, errors of one sentence, and signals.

A library function names its arguments in backquotes ("`image_size` must be ..."); a command prints
the same sentence with its own flags (--image-size). `optimizer-study search` is the same command as
`python -m study.search`. The first Ctrl-C or SIGTERM stops a search once the current piece of work
has ended; a second one does not wait: the process ends as after a kill, which a study survives, but
without the complaints of threads that are still at work.
"""

import argparse
import importlib
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from study.common.errors import CodeError, UserError
from study.common.memory import usable_memory
from study.common.text import join, near, printable

MISTAKE = 2  # exit code of a mistake that the user can fix
STOPPED = 130  # exit code after Ctrl-C
UNREAD = 141  # exit code when the reader of the output has gone: `... | head`
# a command ends them with `complain`
ENDS = (UserError, KeyboardInterrupt, BrokenPipeError, MemoryError)
PATHS = ("DIR", "FILE", "IMAGE", "NAME")  # begin the placeholders of options that take paths
CONSOLE = "optimizer-study"  # installed beside Python: no file of the user's folder shadows it
OURS = {  # argparse's words -> ours
    "expected one argument": "needs a value",
    "ignored explicit argument": "takes no value, but received",
    "the following arguments are required:": "missing:",
}
COMMANDS = {
    "search": "tune every optimizer and rank them",
    "report": "write the report of a study",
    "compare": "compare studies on one page",
    "data": "check the data before a study",
    "predict": "classify photos with the winner of a study",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `optimizer-study COMMAND ...`; a command is imported by name, so only it is loaded."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        module = importlib.import_module(f"study.{given[0]}")
        return int(module.main(given[1:]))
    if given and given[0] in ("-h", "--help"):
        words = "\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())
        print(f"usage: {CONSOLE} COMMAND ...\n\ncommands, each with its own --help:\n{words}")
        return 0
    wrong = (
        f"{given[0]}: unknown command{near(given[0], COMMANDS)}" if given else "no command given"
    )
    print(f"error: {printable(wrong)}; valid: {', '.join(COMMANDS)}", file=sys.stderr)
    return MISTAKE


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of a command; a mistake in them prints one line and ends the process.

    From here on a character that the terminal does not have is printed as "?".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", line_buffering=True)  # a log is up to date
    flags = parser._option_string_actions  # by every flag
    listed = "--help-all" if "--help-all" in flags else "--help"

    def refuse(message: str) -> NoReturn:  # without the usage, which would hide the mistake
        for theirs, ours in OURS.items():
            message = message.replace(theirs, ours)
        words = printable(message.removeprefix("argument "))
        parser.exit(MISTAKE, f"error: {words}; {listed} lists all options\n")

    parser.error = refuse  # type: ignore[method-assign]
    parser.allow_abbrev = False  # a new option must not change what a script means
    arguments, unknown = parser.parse_known_args(argv)
    for text in unknown:
        if text.strip("-") and text.startswith("-"):
            name = text.split("=")[0]
            meant = flag(name.strip("-"))
            begun = join([one for one in flags if one.startswith(meant)][:3], "or")
            hint = f" (did you mean {begun}?)" if begun else near(meant, flags)
            refuse(f"{name}: unknown option{hint}")
    if unknown:
        refuse(f"{unknown[0]}: does not belong to any option")
    for action in parser._actions:
        given = getattr(arguments, action.dest, None)
        for value in given if isinstance(given, list) else [given]:
            if wrong := windows_path(value, str(action.metavar)):
                name = "".join(action.option_strings[:1]) or str(action.metavar)
                parser.exit(MISTAKE, f"error: {printable(f'{name}: {wrong}')}\n")
    return arguments


def windows_path(value: object, placeholder: str) -> str:
    """Return a sentence if an option's value is a path of Windows and nothing here, else ""."""
    text, there = str(value), os.path.exists  # for texts that cannot be a path, too
    if os.name == "nt" or not placeholder.startswith(PATHS) or there(text):
        return ""
    if re.match(r"[A-Za-z]:[^\\/]", text):
        return f"{text} lost its backslashes to the shell: give it in quotes, or as /mnt/c/..."
    here = re.sub(r"(^|,)([A-Za-z]):[\\/]+", lambda m: f"{m[1]}/mnt/{m[2].lower()}/", text)
    here = re.sub(r"^\\\\wsl(\$|\.localhost)\\[^\\]+", "", here)
    known, here = here != text, here.replace("\\", "/")
    if not known and (here == text or not there(here)):
        return ""
    return f"{text} is a path of Windows: give it as WSL has it, {here}"


def add_study(
    parser: argparse.ArgumentParser,
    words: str = "name of the study; default: the newest",
    **more: Any,
) -> None:
    """Add the options of a command that reads a study: --study, with `more`, and --logs."""
    parser.add_argument("--study", metavar="NAME", help=words, **more)
    parser.add_argument(
        "--logs",
        type=Path,
        default=Path("logs"),
        metavar="DIR",
        help="folder of the studies (default: logs)",
    )


def flag(name: str) -> str:
    """Return an argument's name as the command line has it: `image_size` as --image-size."""
    return "--" + name.replace("_", "-")


def in_flags(sentence: str, given: object = None) -> str:
    """Return a sentence with `image_size` as --image-size, where `given` (if any) has it."""
    return re.sub(
        r"`(\w+)`",
        lambda found: flag(found[1]) if given is None or found[1] in vars(given) else found[0],
        sentence,
    )


def typed(command: str, *arguments: object) -> str:
    """Return a shell-quoted command, started as this one was."""
    own = Path(sys.argv[0]).stem == CONSOLE
    start = f"{CONSOLE} {command}" if own else f"python -m study.{command}"
    return printable(shlex.join([*start.split(), *map(str, arguments)]))


def complain(error: BaseException, given: object) -> int:
    """Print a mistake on standard error, nothing for the other `ENDS`; return the exit code.

    An error of the user's own code is printed with its traceback.
    """
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if isinstance(error, BrokenPipeError):  # else Python complains when it closes the output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    if isinstance(error, CodeError):
        print("\n".join(error.traceback_lines()), file=sys.stderr)
    words = in_flags(str(error), given)
    if isinstance(error, MemoryError):
        words = f"memory is short: this process may use {usable_memory() / 1e9:.1f} GB in all"
    print(f"error: {words}", file=sys.stderr)
    return MISTAKE


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal inside; end the process at the second one."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(STOPPED)
        asked = True
        raise KeyboardInterrupt

    before = {
        one: signal.signal(one, stop)
        for one in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(one) is not signal.SIG_IGN  # by nohup, or a shell for its background
    }
    try:
        yield
    finally:
        if not asked:  # else the process is about to end, and must not do so with a traceback
            for one, handler in before.items():
                signal.signal(one, handler)
