"""The exceptions that stand for a mistake which the user can mend."""

import traceback


class UserError(Exception):
    """One plain sentence: what is wrong, where (file, key, value), what to do.

    Commands print it on standard error and exit with code 2; it never shows a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in a notebook."""
        return [f"UserError: {self}"]


class CodeError(UserError):
    """The user's own Python raised something: `__cause__`. Its traceback is shown, too."""

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback_lines(), *super()._render_traceback_()]

    def traceback_lines(self) -> list[str]:
        """What Python says of the cause."""
        cause = self.__cause__
        return "".join(traceback.format_exception(cause)).splitlines() if cause else []
