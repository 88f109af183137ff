"""The columns of the HParams table: every hyperparameter that a row may have, and the metrics.

TensorBoard uses the first such list that it finds for all studies under its folder. So the list has
the keys of any head and schedule, the arguments of the optimizers in the study's own space and in
the spaces that come with the program; the search adds those of all optimizers of Keras.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event

from study.common.aliases import Value
from study.common.metrics import ACCURACY, WORDS
from study.space.domains import argument_of
from study.space.head_config import HEAD
from study.space.schedule_table import SCHEDULES, schedule_keys
from study.space.search_space import OWN_SPACES
from study.tensorboard import events
from study.tensorboard.optimizer_runs import CONFIRMED, PROGRESS, tag_of

ROW: dict[str, Value] = {"study": "", "optimizer": "", "verdict": "", "phase": "", "repeat": 0}
FIRST = ("study", "optimizer", "verdict", "learning_rate", "schedule")  # TensorBoard shows five
NO_ARGUMENTS = ("class", "schedules")  # other keys of an optimizer's table


def table_columns(
    spaces: Iterable[Mapping[str, Any]],
    values: Mapping[str, Value],
    *,
    first: str,
    judged_by: Iterable[str],
) -> Event:
    """Return the columns for rows of these spaces, and of those that come with the program.

    Args:
        spaces: search spaces as they are read from TOML.
        values: more hyperparameters, each with a possible value.
        first: tag of the first metric.
        judged_by: metrics of the studies.
    """
    found = ROW | {"learning_rate": 0.1, "schedule": ""}
    found |= {key: spec.default for key, spec in HEAD.items()}
    for kind in SCHEDULES:
        found |= {key: spec.default for key, spec in schedule_keys(kind).items()}
    own = [tomllib.loads(path.read_text("utf-8")) for path in sorted(OWN_SPACES.glob("*.toml"))]
    for space in (*own, *spaces):
        for table in space["optimizers"].values():
            found |= {
                argument_of(key): _example(domain)
                for key, domain in table.items()
                if key not in (*NO_ARGUMENTS, *found)
            }
    titles = {tag: title for one in judged_by for tag, title in metrics(one).items()}
    return events.columns({**values, **found, "bracket": 0}, {first: "", **titles}, FIRST)


def metrics(metric: str) -> dict[str, str]:
    """Return tag -> title of the metric columns of a study that is judged by `metric`."""
    own = {
        f"table/val_{metric}": f"best val_{metric}",
        f"table/test_{metric}": f"test {WORDS[metric]} there",
    }
    return {
        **({} if metric == ACCURACY else own),
        "table/val_accuracy": "best val_accuracy",
        "table/val_loss": "val_loss there",
        "table/test_accuracy": "test accuracy there",
        tag_of(CONFIRMED, metric): f"confirmed {WORDS[metric]}",
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
