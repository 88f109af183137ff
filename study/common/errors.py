"""The one exception that stands for a mistake which the user can mend."""


class UserError(Exception):
    """One plain sentence: what is wrong, where (file, key, value), what to do.

    Commands print it on standard error and exit with code 2; it never shows a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in a notebook."""
        return [f"UserError: {self}"]
