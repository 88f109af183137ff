"""Numbers and lists as sentences have them."""

from collections.abc import Sequence

from study.common.aliases import Value


def points_signed(value: float) -> str:
    """ "+3.1" or "-0.4", in percentage points."""
    return f"{100 * value:+.1f}"


def join(names: Sequence[str], word: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def some(names: Sequence[str], noun: str, most: int = 4, word: str = "and") -> str:
    """The names, or of many only how many: "12 optimizers"."""
    return join(names, word) if len(names) <= most else counted(len(names), noun)


def counted(number: int, noun: str) -> str:
    """ "1 repeat", "5 repeats"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def points(value: float) -> str:
    """A difference of values in percentage points."""
    return f"{100 * value:.1f}"


def number(value: Value) -> str:
    """A hyperparameter as text: 4 significant digits for a float."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"
