"""The user's own optimizers in a study: their files are run, checked for use and described."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from study.common.errors import UserError
from study.common.text import printable
from study.space.own_optimizers import load_code, own_optimizers
from study.space.search_space import SearchSpace
from study.training.mappable import Alone

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
    """Refuse code that the search space does not use.

    Raises:
        UserError: no optimizer of the space is the user's; shows a table to add.
    """
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
    """Return a sentence about each optimizer that plain Keras has to train."""
    return [
        f"the heads of {name} cannot be trained together: {why.reason}; plain Keras trains them "
        f"one by one, at about {1000 * why.step_seconds:.0f} ms per step"
        for name, why in alone.items()
    ]
