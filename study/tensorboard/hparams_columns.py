"""The columns of the HParams table: the hyperparameters that its rows may have, and the metrics.

TensorBoard uses one list of columns for all studies under its folder, whichever it finds first. So
there is one beside the studies, written again whenever one of them starts.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.common.aliases import Value
from study.common.errors import UserError
from study.common.metrics import ACCURACY, WORDS
from study.records.study_files import STUDY_FILE
from study.records.study_meta import StudyMeta, load_meta
from study.space.domains import argument_of
from study.space.head_config import HEAD, LOSS
from study.space.schedule_table import SCHEDULES, schedule_keys
from study.tensorboard import events
from study.tensorboard.events import RunFile
from study.tensorboard.optimizer_runs import BEHIND, BEHIND_NEW, CONFIRMED, PROGRESS, tag_of

RUN = ".tensorboard"
ROW: dict[str, Value] = {"study": "", "optimizer": "", "verdict": "", "phase": "", "repeat": 0}
FIRST = ("optimizer", "verdict", "learning_rate", "schedule")  # TensorBoard shows five
NO_ARGUMENTS = ("class", "schedules")  # other keys of an optimizer's table


class Tuned(NamedTuple):
    """What decides the columns of a study."""

    space: Mapping[str, Any]  # as it is read from TOML
    metric: str

    @classmethod
    def of(cls, meta: StudyMeta) -> "Tuned":
        """Return those of a study that was begun."""
        return cls(meta.space["table"], meta.metric)


def write_columns(folder: Path, studies: Iterable[Tuned], *, first: str, several: bool) -> None:
    """Write the columns of these studies in `folder`, in place of those that are there.

    The metrics of the first study come first, and of these the one with the tag `first`; `several`
    shows the name of the study.
    """
    examples, titles = dict(ROW), {first: ""}
    for study in studies:
        examples |= _hyperparameters(study.space)
        titles |= metrics(study.metric)
    before = list((folder / RUN).glob("*tfevents*"))
    shown = ("study", *FIRST) if several else FIRST
    RunFile(folder / RUN).append([events.columns({**examples, "bracket": 0}, titles, shown)])
    for file in before:
        file.unlink(missing_ok=True)


def begun_in(logs: Path) -> list[Tuned]:
    """Return the studies in `logs` that can be read."""
    found = []
    for file in sorted(logs.glob(f"*/{STUDY_FILE}")):
        try:
            found.append(Tuned.of(load_meta(file.parent)))
        except UserError:  # damaged, or of another version: its rows are shown without it
            continue
    return found


def _hyperparameters(space: Mapping[str, Any]) -> dict[str, Value]:
    """Return every hyperparameter of a row of this space, with one value."""
    head, schedules = space.get("head", {}), space.get("schedules") or {"constant": {}}
    found: dict[str, Value] = {"learning_rate": 0.1, "schedule": ""}
    found |= {key: spec.default for key, spec in HEAD.items() if key not in LOSS or key in head}
    for kind, given in schedules.items():
        instead = SCHEDULES[kind].instead
        without = {"final_factor"} if instead & given.keys() else instead
        keys = schedule_keys(kind).items()
        found |= {key: spec.default for key, spec in keys if key not in without}
    for table in space["optimizers"].values():
        for key, domain in table.items():
            if key not in (*NO_ARGUMENTS, *found):
                found[argument_of(key)] = _example(domain)
    return found


def metrics(metric: str) -> dict[str, str]:
    """Return tag -> title of the metric columns of a study that is judged by `metric`."""
    own = {
        f"table/val_{metric}": f"best val_{metric}",
        f"table/test_{metric}": f"test {WORDS[metric]} there",
    }
    return {
        tag_of(CONFIRMED, metric): f"confirmed {WORDS[metric]}",
        BEHIND: "behind the best at most (points)",
        BEHIND_NEW: "on new images at most (points)",
        **({} if metric == ACCURACY else own),
        "table/val_accuracy": "best val_accuracy",
        "table/val_loss": "val_loss there",
        "table/test_accuracy": "test accuracy there",
        tag_of(PROGRESS, metric): "best of its searches",
        "table/epochs": "epochs",
        "table/rung": "rung reached",
        "table/status": "status: 0 completed, 1 diverged, 2 failed",
    }


def _example(domain: Any) -> Value:
    """Return one value of a fixed value, a set or a range, as TOML has them."""
    if not isinstance(domain, Mapping):
        return domain  # type: ignore[no-any-return]
    return domain["choices"][0] if "choices" in domain else 0.1
