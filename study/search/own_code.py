"""Code of the user's in a study: run, said, described in `study.json`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from study.common.errors import UserError
from study.space.own_optimizers import load_code, own_optimizers
from study.space.search_space import SearchSpace
from study.training.mappable import Alone

TABLE = """
[optimizers.{name}]
class = "{keras_class}"
learning_rate = {{min = 1e-5, max = 1e-1, scale = "log"}}
"""


def run_code(files: Iterable[Path]) -> None:
    """Run the files and say what they brought."""
    found = load_code(files)
    for file in dict.fromkeys(own.file for own in found.values()):
        classes = [name for name, own in found.items() if own.file == file]
        digest = found[classes[0]].digest[:12]
        print(f"code: {file} was run (sha256 {digest}); it brings {', '.join(classes)}")


def check_used(space: SearchSpace) -> None:
    """Refuse code that the search space has no use for.

    Raises:
        UserError: with a table to add.
    """
    used = {one.keras_class for one in space.optimizers.values()}
    own = own_optimizers()
    if own and not used & own.keys():
        name = next(iter(own))
        table = TABLE.format(name=name.lower(), keras_class=name)
        raise UserError(
            f"`code` {own[name].file}: no optimizer of the search space {space.name} has "
            f"class {' or '.join(own)}; add such a table to a space of your own, with the ranges "
            f'it needs (`extends = "default"` on top keeps the 12 others):\n{table}'
        )


def code_facts(space: SearchSpace, alone: Mapping[str, Alone]) -> dict[str, dict[str, str]]:
    """Name in the space -> class, file, digest of the user's optimizers, and why one is alone."""
    own = own_optimizers()
    facts = {}
    for name, optimizer in space.optimizers.items():
        if optimizer.keras_class in own:
            found = own[optimizer.keras_class]
            facts[name] = {
                "class": optimizer.keras_class,
                "file": found.file.name,
                "digest": found.digest,
                "alone": alone[name].reason if name in alone else "",
            }
    return facts


def alone_words(alone: Mapping[str, Alone]) -> list[str]:
    """A sentence for each optimizer that plain Keras has to train."""
    return [
        f"{name} cannot be trained many at a time: {why.reason}; plain Keras trains its heads one "
        f"by one, about {1000 * why.step_seconds:.0f} ms a step"
        for name, why in alone.items()
    ]
