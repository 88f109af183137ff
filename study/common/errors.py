"""The exceptions for a mistake that the user can fix."""

import traceback


class UserError(Exception):
    """One plain sentence: what is wrong, where (file, key, value), what to do.

    Commands print it on standard error and exit with code 2; it never shows a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in a notebook."""
        return [f"UserError: {self}"]


class CodeError(UserError):
    """An error raised by the user's own Python, its `__cause__`; the traceback is shown, too."""

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback_lines(), *super()._render_traceback_()]

    def traceback_lines(self) -> list[str]:
        """Return Python's traceback of the cause."""
        cause = self.__cause__
        return "".join(traceback.format_exception(cause)).splitlines() if cause else []
