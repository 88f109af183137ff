"""What a user is told on standard error: mistakes that the user can fix, and warnings."""

import sys
import traceback

from study.common.text import printable

MOST_LINES, MOST_LETTERS = 5, 300  # of an error's message; of each line


class UserError(Exception):
    """One plain sentence: what is wrong, where (file, key, value), what to do.

    Commands print it on standard error and exit with code 2; it never shows a traceback.
    """

    def __init__(self, sentence: str, example: str = "") -> None:
        """Make the sentence printable, whatever it quotes; lines to copy may follow it."""
        super().__init__(printable(sentence) + example)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in a notebook."""
        return [f"UserError: {self}"]


class CodeError(UserError):
    """An error raised by the user's own Python, its `__cause__`; the traceback is shown, too."""

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback_lines(), *super()._render_traceback_()]

    def traceback_lines(self) -> list[str]:
        """Return Python's traceback of the cause, of a long message only the beginning."""
        if (cause := self.__cause__) is None:
            return []
        lines = "".join(traceback.format_exception(cause)).strip().split("\n")
        more = max(len(str(cause).splitlines()) - MOST_LINES, 0)  # it may show a tensor
        shown = [printable(line.expandtabs()[:MOST_LETTERS]) for line in lines[: len(lines) - more]]
        return [*shown, f"... and {more} more lines"] if more else shown


def first_line(error: BaseException) -> str:
    """Return what an exception of a library says, without the pages that follow."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def warn(sentence: str) -> None:
    """Print a warning, whatever it quotes, on one line."""
    print(f"warning: {printable(sentence)}", file=sys.stderr)
