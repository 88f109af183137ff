"""`predicted.jsonl`: the class that each confirmation run predicts for each validation example.

They say how uncertain differences are on new images (`study.verdicts.new_images`). The first line
holds the true class and the unit of every example, the line of a split says which examples
validate, and the line of a run by how many classes each prediction is off, modulo their number:
mostly 0, so it deflates well. An example and run take about a byte, with the names around them
(88,589 bytes for 495 runs of 160 on the built-in faces). Arrays have zlib's checksum and are in
base64. The line of a run is on the disk before its record, so no record is ever without one.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt

from study.common.files import append_lines, write_atomically
from study.records.study_files import DAMAGE, FORMAT, PREDICTED_FILE, without_format
from study.records.trial_record import Phase, TrialRecord, TrialStatus

MOST_EXAMPLES = 10**8  # a short line could unpack to more


class Labelled(NamedTuple):
    """The N examples of a study, in C classes."""

    labels: Integer[np.ndarray, " N"]  # true classes, from 0
    units: Integer[np.ndarray, " N"]  # number of the unit of each, which is never divided
    classes: int  # C


class PredictedRun(NamedTuple):
    """What one confirmation run predicts for its validation examples."""

    trial_id: str
    split: str  # digest
    rows: Integer[np.ndarray, " m"]  # in ascending order
    classes: Integer[np.ndarray, " m"]


@dataclass
class PredictedClasses:
    """The content of a `predicted.jsonl`."""

    examples: Labelled | None = None
    rows: dict[str, Integer[np.ndarray, " _"]] = field(default_factory=dict)  # of each split
    off: dict[str, tuple[str, UInt[np.ndarray, " _"]]] = field(default_factory=dict)  # of each run
    whole: bool = True  # whether no line is damaged or cut off

    def of(self, trial_id: str) -> PredictedRun:
        """Return what a run predicts; a `KeyError` if nothing is known of it."""
        split, off = self.off[trial_id]
        assert self.examples is not None  # its line comes first
        rows = self.rows[split]
        classes = (self.examples.labels[rows] + off.astype(int)) % self.examples.classes
        return PredictedRun(trial_id, split, rows, classes.astype(off.dtype))

    def add(self, examples: Labelled, runs: Iterable[PredictedRun]) -> list[str]:
        """Add runs of these examples; return their lines for the file."""
        lines: list[dict[str, Any]] = []
        if self.examples is None:
            self.examples = examples
            count = len(examples.labels)
            lines.append(
                {
                    "examples": count,
                    "classes": examples.classes,
                    "labels": _packed(examples.labels, examples.classes),
                    "units": _packed(examples.units, count),
                }
            )
        for run in runs:
            if run.split not in self.rows:
                self.rows[run.split] = run.rows
                bits = np.zeros(len(examples.labels), bool)
                bits[run.rows] = True
                lines.append({"split": run.split, "validation": _packed(np.packbits(bits), 256)})
            off = (run.classes.astype(int) - examples.labels[run.rows]) % examples.classes
            self.off[run.trial_id] = run.split, off.astype(_kind(examples.classes))
            text = _packed(off, examples.classes)
            lines.append({"trial_id": run.trial_id, "split": run.split, "off": text})
        return [json.dumps({"format": FORMAT, **line}) for line in lines]

    def read(self, line: bytes, place: str) -> None:
        """Add the content of a line; `place` names it in an error.

        Raises:
            UserError: another version wrote it.
            ValueError, KeyError, TypeError: it is damaged.
        """
        table = without_format(json.loads(line), place)
        if "labels" in table:
            count, classes = table["examples"], table["classes"]
            if count > MOST_EXAMPLES:
                raise ValueError(f"{count} examples")
            self.examples = Labelled(
                _unpacked(table["labels"], classes, count).astype(int),
                _unpacked(table["units"], count, count).astype(int),
                classes,
            )
        elif self.examples is None:
            raise ValueError("its examples are unknown")
        elif "validation" in table:
            count = len(self.examples.labels)
            bits = _unpacked(table["validation"], 256, -(-count // 8))
            self.rows[table["split"]] = np.flatnonzero(np.unpackbits(bits)[:count])
        else:
            rows = self.rows[table["split"]]
            off = _unpacked(table["off"], self.examples.classes, len(rows))
            self.off[table["trial_id"]] = table["split"], off


def read_predicted(study: Path) -> PredictedClasses:
    """Return the content of `predicted.jsonl`, as far as it can be read; a missing file is empty.

    Raises:
        UserError: another version wrote one of the lines.
    """
    found, path = PredictedClasses(), study / PREDICTED_FILE
    if not path.exists():
        return found
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut off")
                found.read(line, f"{path}, line {number}")
            except (*DAMAGE, zlib.error):
                found.whole = False
    return found


def lacks_classes(record: TrialRecord, known: PredictedClasses) -> bool:
    """Return whether a confirmation run was trained and it is not known what it predicts."""
    trained = record.phase is Phase.CONFIRM and record.status is not TrialStatus.FAILED
    return trained and record.trial_id not in known.off


def append_predicted(
    study: Path, known: PredictedClasses, examples: Labelled, runs: Iterable[PredictedRun]
) -> None:
    """Add runs to `known` and to `predicted.jsonl`; flush it to the disk before returning."""
    append_lines(study / PREDICTED_FILE, known.add(examples, runs))


def repair_predicted(study: Path, known: PredictedClasses) -> None:
    """Make `predicted.jsonl` safe to append to: drop lines that are damaged or cut off."""
    if known.whole:
        return
    again, lines = PredictedClasses(), list[str]()
    if known.examples is not None:
        lines = again.add(known.examples, map(known.of, known.off))
    write_atomically(study / PREDICTED_FILE, (f"{line}\n" for line in lines))
    known.rows, known.whole = again.rows, True


def _kind(below: int) -> np.dtype[Any]:
    """Return the smallest type for whole numbers below `below`, little-endian."""
    return np.dtype(np.min_scalar_type(below - 1)).newbyteorder("<")


def _packed(array: Integer[np.ndarray, " n"], below: int) -> str:
    return base64.b64encode(zlib.compress(array.astype(_kind(below)).tobytes())).decode()


def _unpacked(text: str, below: int, count: int) -> UInt[np.ndarray, " n"]:
    """Return `count` whole numbers below `below`; refuse anything else."""
    kind = _kind(below)
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b64decode(text, validate=True), count * kind.itemsize + 1)
    found = np.frombuffer(content, kind)
    if not unpacking.eof or len(found) != count or (count and found.max() >= below):
        raise ValueError("not as many numbers as there should be, or too large ones")
    return found
