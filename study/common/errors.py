"""The exceptions that stand for a mistake which the user can mend."""


class UserError(Exception):
    """One plain sentence: what is wrong, where (file, key, value), what to do.

    Commands print it on standard error and exit with code 2; it never shows a traceback.
    """


class CodeError(UserError):
    """The user's own Python raised something: `__cause__`. Commands print its traceback, too."""
