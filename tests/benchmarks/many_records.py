"""Time and memory of everything but training against the number of runs of a study.

    python tests/benchmarks/many_records.py [--records 10000 100000 1000000] [--at-once 64]

A study is simulated: the real oracles propose (12 optimizers, Hyperband, 50 epochs, factor 3), the
real protocol, records, TensorBoard events, resume and report do what they do in use, and only the
trainer is made up: it draws learning curves instead of training, so many heads at once, and keeps
no states of heads. Each step runs in a process of its own. Time is a record's share; peak memory is
what the process needs beyond one that has only imported the same. A linear step has the same share
in every line. Seconds of a processor are not those of a clock where the machine is shared, or waits
for the disk.

The oracle of one search is measured apart, by random trials of Adam's space: in a study of many
searches each of them is short. 10,000 records take half a minute, 100,000 three minutes of a
processor, 1,000,000 fifteen, 6 GB of memory and 2 GB of the temporary folder.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/synthetic.py

CLASSES, ROWS, MAX_EPOCHS = 17, 340, 50
TRIALS = 90  # of one Hyperband search of 50 epochs and factor 3
MIB = 2**20
SPENT: dict[str, float] = defaultdict(float)  # seconds of a processor, inside a step


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; its seconds are added up in `SPENT`."""

    def measured(*values: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*values, **named)
        finally:
            SPENT[name] += time.process_time() - start

    return measured


def parts(count: int, at_once: int) -> tuple[Any, Any, Any, Any]:
    """Options, space, settings and data of a study of about so many records."""
    import numpy as np
    from synthetic import make_meta

    from study.data.examples import Examples
    from study.search.command_line import parse, resolve_options
    from study.search.tasks import Data, make_splits
    from study.space.search_space import load_space
    from study.verdicts.looks import planned_looks

    space = load_space("default")
    repeats = max(count // (len(space.optimizers) * (TRIALS + 8)), 1)
    arguments = ["--data", "x", "--repeats", str(repeats), "--max-epochs", str(MAX_EPOCHS)]
    arguments += ["--test-split", "0", "--population", str(at_once), "--name", "many"]
    options = resolve_options(parse(arguments), {}, "default")
    labels = (np.arange(ROWS) % CLASSES).astype(np.int32)
    names = tuple(f"class{number}" for number in range(CLASSES))
    digests = tuple(f"{row:064d}" for row in range(ROWS))
    examples = Examples(source=Path("x"), labels=labels, class_names=names, digests=digests)
    data = Data(np.zeros((ROWS, 8), np.float32), labels, CLASSES, make_splits(examples, options))
    split = data.splits("search", 0)
    meta = make_meta(
        list(space.optimizers),
        list(names),
        name="many",
        settings=options.settings(),
        looks=list(planned_looks(options.repeats, options.most_repeats)),
        split_sizes={"train": len(split.train), "validation": len(split.validation), "test": 0},
        space={"name": "default", "fingerprint": "ef" * 8, "table": space.table},
    )
    return options, space, meta, data


def simulated(data: Any, at_once: int) -> Any:
    """A trainer that draws curves, a function of each run's seed and optimizer."""
    import zlib

    import numpy as np

    from study.training.epoch_metrics import EpochMetrics
    from study.training.population import LocalTrainer
    from study.training.runs import HeadResult, HeadRun, TrainingRules

    class Simulated(LocalTrainer):
        def train(self, runs: Sequence[HeadRun]) -> Iterator[list[tuple[int, HeadResult]]]:
            for at in range(0, len(runs), self.size):
                indices = range(at, min(at + self.size, len(runs)))
                yield [(index, result(runs[index])) for index in indices]

    def result(run: HeadRun) -> HeadResult:
        own = zlib.crc32(repr(run.config).encode())
        rng = np.random.default_rng([run.seed, own, run.epochs])
        top = 0.55 + 0.4 * math.exp(-((math.log10(run.config.learning_rate) + 2) ** 2) / 8)
        epochs = np.arange(1, run.epochs + 1)
        rows = len(run.validation)
        half = rows // 2
        right = np.clip(top * (1 - np.exp(-epochs / 4)) + rng.normal(0, 0.02, len(epochs)), 0, 1)
        hits_a, hits_b = rng.binomial(half, right), rng.binomial(rows - half, right)
        loss = 3 * np.exp(-epochs / 6) + rng.uniform(0.05, 0.1, len(epochs))
        measured = {
            "loss": loss,
            "accuracy": right,
            "val_loss": loss * 1.2,
            "val_accuracy": (hits_a + hits_b) / rows,
            "val_hits_a": hits_a,
            "val_hits_b": hits_b,
        }
        curves = {
            name: np.asarray(measured[name], np.float32) if name in measured else None
            for name in EpochMetrics._fields
        }
        rate = (run.config.learning_rate * (1 - epochs / 60)).astype(np.float32)
        return HeadResult(EpochMetrics(**curves), rate, None, [], 0.01)

    return Simulated(data.table, TrainingRules(MAX_EPOCHS), at_once)


def search(folder: Path, count: int, at_once: int) -> int:
    """A whole search, or what a finished one does when it is resumed; how many records there are.

    As `study.search.studies` does it.
    """
    from study.report.tables import standings
    from study.search import oracles
    from study.search.budget import promotions
    from study.search.live_progress import Watch, round_name
    from study.search.plan import make_plan
    from study.search.protocol import Round, StudyProtocol
    from study.search.runner import Runner
    from study.search.study_folder import resume
    from study.tensorboard.event_folder import EventFolder

    options, space, meta, data = parts(count, at_once)
    population = timed("simulating", simulated)(data, at_once)
    oracles.Search.ask = timed("oracle asked", oracles.Search.ask)  # type: ignore[method-assign]
    oracles.Search.tell = timed("oracle told", oracles.Search.tell)  # type: ignore[method-assign]
    folder.mkdir(parents=True, exist_ok=True)
    meta, known = timed("resume", resume)(folder, meta)
    events = timed("events", EventFolder.recreate)(folder / "tensorboard", space, known)
    watch = Watch(make_plan(options, space), known)

    def begin(now: Round, records: list[Any]) -> None:
        watch.begin(now)
        about = timed("standings", standings)(meta, records)
        timed("events", events.begin)(round_name(now), about)

    save = saved(folder, events, watch)
    promoted = promotions(options.tuner, options.max_epochs, options.factor)
    runner = Runner(data, population, promoted, known, save)
    runner._trained = simulation_apart(runner._trained)  # type: ignore[method-assign]
    protocol = StudyProtocol(options, space, runner, meta, begin)
    with watch:
        timed("all of the protocol", protocol.run)()
    about = timed("standings", standings)(meta, protocol.records())
    timed("events", events.end)(protocol.superseded(), about)
    return len(runner.records)


def saved(folder: Path, events: Any, watch: Any) -> Callable[[list[Any]], None]:
    """What a study does with new records."""
    from study.records.trials_file import append_trials

    append, show, count = (
        timed("append", append_trials),
        timed("events", events.write),
        timed("progress", watch.add),
    )

    def save(records: list[Any]) -> None:
        append(folder, records)
        show(records)
        count(records)

    return save


def simulation_apart(train: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The same batches; the seconds that drawing them takes are no part of a study."""

    def trained(tasks: Sequence[Any]) -> Iterator[Any]:
        batches = train(tasks)
        following = timed("simulating", lambda: next(batches, None))
        while (batch := following()) is not None:
            yield batch

    return trained


def load(folder: Path, count: int, at_once: int) -> int:
    """Read all records."""
    from study.records.trials_file import load_trials

    return len(timed("load", load_trials)(folder))


def report(folder: Path, count: int, at_once: int) -> int:
    """Write the whole report."""
    from study.report import write

    for name in ("load_study", "draw_figures", "write_figures", "markdown", "page"):
        setattr(write, name, timed(name, getattr(write, name)))
    for name in ("flat_trials", "as_csv", "ranking_json"):
        setattr(write, name, timed(name, getattr(write, name)))
    timed("all of the report", write.write_report)(folder.parent, folder.name)
    return (folder / "trials.jsonl").read_bytes().count(b"\n")


def oracle(folder: Path, count: int, at_once: int) -> int:
    """One search of so many random trials, asked for all of them and told all results."""
    from study.search.budget import Budget
    from study.search.oracles import Search
    from study.space.search_space import load_space

    one = Search(load_space("default"), "adam", Budget("random", MAX_EPOCHS, 3, count), seed=7)
    proposals = timed("oracle asked", one.ask)()
    tell = timed("oracle told", one.tell)
    for proposal in proposals:
        tell(proposal.number, int(proposal.number) % 97 / 97)
    return len(proposals)


STEPS = {"oracle": oracle, "search": search, "load": load, "resume": search, "report": report}


def one_step(name: str, folder: Path, count: int, at_once: int) -> dict[str, Any]:
    """Run it here and say what it took."""
    import keras_tuner  # noqa: F401, everything heavy, before memory is counted

    from study.report import write  # noqa: F401
    from study.search import studies  # noqa: F401
    from study.training import population  # noqa: F401

    before = memory()
    start, busy = time.perf_counter(), time.process_time()
    records = STEPS[name](folder, count, at_once)
    simulated = SPENT.pop("simulating", 0.0)
    return {
        "records": records,
        "seconds": time.perf_counter() - start - simulated,
        "busy": time.process_time() - busy - simulated,
        "memory": memory() - before,
        "parts": dict(SPENT),
    }


def memory() -> int:
    """The most that this process ever needed, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_own_process(name: str, folder: Path, count: int, at_once: int) -> dict[str, Any]:
    """The figures of one step."""
    command = [sys.executable, __file__, "--step", name, "--folder", folder]
    command += ["--records", str(count), "--at-once", str(at_once)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each step and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--at-once", type=int, default=64, help="heads of one batch of records")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(one_step(given.step, given.folder, given.records[0], given.at_once)))
        return
    for count in given.records:
        with tempfile.TemporaryDirectory() as place:
            study = (given.folder or Path(place)) / str(count) / "many"
            for name in given.steps:
                show(name, in_own_process(name, study, count, given.at_once), study)


def show(name: str, found: dict[str, Any], study: Path) -> None:
    count = found["records"]
    share = {part: f"{seconds / count * 1e6:.0f}" for part, seconds in found["parts"].items()}
    size = sum(path.stat().st_size for path in study.rglob("*") if path.is_file())
    print(
        f"{name:7} {count:9,} records  {found['seconds']:8.1f} s, of a processor "
        f"{found['busy']:8.1f} s, {found['busy'] / count * 1e6:5.0f} us a record  peak "
        f"{found['memory'] / MIB:6.0f} MiB, {found['memory'] / count / 1024:5.1f} KiB a record  "
        f"folder {size / MIB:5.0f} MiB\n"
        f"        us a record: {', '.join(f'{part} {one}' for part, one in share.items())}",
        flush=True,
    )


if __name__ == "__main__":
    main()
