"""The user's own optimizers in a study: their files are run, checked for use and described."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from study.common.errors import UserError
from study.common.text import counted, join, printable
from study.space.own_optimizers import MOST_PRINTED, load_code, own_optimizers, printed
from study.space.search_space import SearchSpace
from study.training.mappable import Alone
from study.training.step_state import rate_is_idle

MOST = 4  # optimizers in a sentence, and such sentences

TABLE = """
[optimizers.{name}]
class = "{keras_class}"
learning_rate = {{min = 1e-5, max = 1e-1, scale = "log"}}
"""


def run_code(files: Iterable[Path]) -> None:
    """Run the files, and print the optimizers that they define."""
    found = load_code(files)
    for file in dict.fromkeys(own.file for own in found.values()):
        classes = [name for name, own in found.items() if own.file == file]
        digest = found[classes[0]].digest[:12]
        print(f"code: ran {printable(file)} (sha256 {digest}); it defines {', '.join(classes)}")


def check_used(space: SearchSpace) -> None:
    """Refuse code that the search space does not use, with a table to add."""
    used = {one.keras_class for one in space.optimizers.values()}
    own = own_optimizers()
    if own and not used & own.keys():
        name = next(iter(own))
        table = TABLE.format(name=name.lower(), keras_class=name)
        raise UserError(
            f"`code` {own[name].file}: no optimizer of the search space {space.name} has "
            f"class {' or '.join(own)}; add a table like this one to your own search space, with "
            'suitable ranges (`extends = "default"` at its top keeps that space\'s optimizers):',
            f"\n{table}",
        )


def code_facts(space: SearchSpace, alone: Mapping[str, Alone]) -> dict[str, dict[str, str]]:
    """Describe each optimizer of the space that is the user's, for `study.json`."""
    own = own_optimizers()
    return {
        name: {
            "class": one.keras_class,
            "file": own[one.keras_class].file.name,
            "digest": own[one.keras_class].digest,
            "alone": alone[name].reason if name in alone else "",
        }
        for name, one in space.optimizers.items()
        if one.keras_class in own
    }


def alone_words(alone: Mapping[str, Alone]) -> list[str]:
    """Return a sentence about each reason for which plain Keras has to train optimizers."""
    names: dict[str, list[str]] = {}
    for name, why in alone.items():
        names.setdefault(why.reason, []).append(name)
    words = [
        f"the heads of {join(of, most=MOST)} cannot be trained together: {reason}; plain Keras "
        f"trains them one by one, at about {1000 * alone[of[0]].step_seconds:.0f} ms per step"
        for reason, of in names.items()
    ]
    more = words[MOST:] and [
        f"{counted(len(words) - MOST, 'other reason')} for training optimizers one by one: see "
        "`code` in study.json"
    ]
    return words[:MOST] + more


def idle_rate_words(space: SearchSpace) -> list[str]:
    """Return a sentence about the user's optimizers whose tuned learning rate changes nothing."""
    idle = [
        name
        for name, one in space.optimizers.items()
        if one.keras_class in own_optimizers()
        and not (one.learning_rate.fixed and one.schedules == ("constant",))
        and rate_is_idle(space.default(name))
    ]
    return idle and [
        f"the learning rate of {join(idle, most=MOST)} has no effect on any step, but is tuned: "
        "use the one that `update_step` receives, or give a fixed one and "
        'schedules = ["constant"]'
    ]


def printed_words() -> list[str]:
    """Return how many lines of each file's `print` were not shown."""
    return [
        f"code: {name} printed {counted(count - MOST_PRINTED, 'more line')}, not shown"
        for name, count in printed.items()
        if count > MOST_PRINTED
    ]
