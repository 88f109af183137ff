"""What follows from `--base` in a study's options, and one study a base where several are named.

In: what the user gave. Out: preparation, image size and name that the base decides, and options
for each of several bases, whose studies are told apart by name: SPACE-TUNER for VGG16, as ever,
SPACE-TUNER-BASE for another one, NAME-BASE where a name was given for several.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from study.common.bases import DEFAULT_BASE, check_size, is_file, preprocess_of, short_name
from study.common.errors import UserError
from study.features.keras_archive import input_size
from study.search.option_rules import in_name

MOST_BYTES = 40  # of a base in a study's name


def bases_of(arguments: argparse.Namespace, study_table: Mapping[str, Any]) -> list[str]:
    """The bases that were named, A,B, by the user or else by the space; as they stand there.

    Raises:
        UserError: one is named twice, or two files would have studies of one name.
    """
    table = study_table if arguments.features is None else {}  # rows have no base
    given = arguments.base if arguments.base is not None else table.get("base", DEFAULT_BASE)
    if isinstance(given, str):  # a comma may stand in a file's name
        bases = [given] if Path(given).is_file() else [name.strip() for name in given.split(",")]
    else:
        bases = list(map(str, given)) if isinstance(given, list) and given else [given]
    for place, base in enumerate(bases):
        for other in bases[:place]:
            if base == other:
                raise UserError(f"`base` {short_name(base)} is named twice; once is enough")
            if word_of(base) == word_of(other):
                raise UserError(
                    f"`base` {other} and {base} would both be study ...-{word_of(base)}: rename one"
                )
    return bases


def each_base(arguments: argparse.Namespace, bases: Sequence[str]) -> Iterator[argparse.Namespace]:
    """The arguments of the study of each base; those given, where there is one.

    If files are among several bases, `preprocess` speaks of them and `weights` of the others: a
    named base knows how it was trained, a file brings its weights.
    """
    if len(bases) == 1:
        yield arguments
        return
    files = any(map(is_file, bases))
    for base in bases:
        own = argparse.Namespace(**{**vars(arguments), "base": base})
        if arguments.name is not None:
            own.name = f"{arguments.name}-{word_of(base)}"
        if files and is_file(base):
            own.weights = None
        elif files:
            own.preprocess = None
        yield own


def follow_base(values: dict[str, Any], chosen: set[str]) -> str:
    """Set what the base decides and was not `chosen`; returns what the study's name ends with.

    Raises:
        UserError: no such base, one that does not take this, or images too small for it.
    """
    base = values["base"]
    size = input_size(base) if is_file(base) else None
    if size is not None and "image_size" not in chosen:
        values["image_size"] = size
    values["preprocess"] = preprocess_of(base, values["preprocess"])
    check_size(base, values["image_size"])
    return "" if base == DEFAULT_BASE else f"-{word_of(base)}"


def word_of(base: str) -> str:
    """The base in a study's name: its name, or the file's without folder and ending."""
    if not is_file(base):
        return base
    plain = "".join(c if in_name(c) else "-" for c in PurePath(base).stem)
    return plain.encode()[:MOST_BYTES].decode(errors="ignore")
