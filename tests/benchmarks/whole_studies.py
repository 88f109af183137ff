"""Whole studies of the same optimizer under four names: whatever is claimed of them is false.

    python tests/benchmarks/whole_studies.py                 # 10 minutes of studies
    python tests/benchmarks/whole_studies.py --minutes 60

Runs on the built-in faces, in one process, so the training program is compiled once. None of the
four may be excluded, which may happen in 5 % of studies. In every fourth study a fifth name is
crippled (its learning rate fixed 1000 times too small): it must be. A study gives all optimizers of
a repeat the same seeds and proposals, which would make the four names agree to the last bit; here
each name draws its own, the harder case. Simulated studies, thousands: `calibration.py`.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.common.seeds import derive_seed
from study.machines.here import Here
from study.records.study_meta import StudyMeta
from study.records.trial_record import TrialRecord
from study.search.command_line import parse, resolve_options
from study.search.image_subject import ImageSubject
from study.search.options import Options
from study.search.oracles import Proposal
from study.search.protocol import StudyProtocol
from study.search.runner import Runner
from study.search.study_folder import study_meta
from study.search.tasks import Data, Task, make_splits
from study.space.search_space import SearchSpace, load_space
from study.training.population import CPU_HEADS, LocalTrainer
from study.training.runs import TrainingRules, TrainingTable
from study.verdicts.answer import Answer, Verdict, share_interval
from study.verdicts.judge import answer_of

NAMES = ("one", "two", "three", "four")
GOOD = "learning_rate = {min = 3e-4, max = 3e-2, scale = 'log'}"
CRIPPLED = "learning_rate = 3e-6"
EVERY = 4  # one study in so many has a crippled optimizer, too
ARGUMENTS = [
    *("--tuner", "random", "--trials", "4", "--max-epochs", "10", "--most-repeats", "12"),
]


class Unpaired(StudyProtocol):
    """The protocol with seeds and proposals of its own for every optimizer."""

    def _proposals(self, key: tuple[str, int]) -> int:
        return derive_seed(self.options.seed, *key)

    def _task(self, key: tuple[str, int], proposal: Proposal) -> Task:
        task = super()._task(key, proposal)
        return task._replace(run=replace(task.run, seed=derive_seed(task.run.seed, key[0])))

    def _retraining(self, *arguments: Any, **more: Any) -> Task:
        task = super()._retraining(*arguments, **more)
        seed = derive_seed(task.run.seed, task.config.optimizer)
        return task._replace(run=replace(task.run, seed=seed))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cache-dir", help="of the features")
    parser.add_argument("--first-seed", type=int, default=1)
    given = parser.parse_args()
    command = parse([*ARGUMENTS, *(["--cache-dir", given.cache_dir] if given.cache_dir else [])])
    options = resolve_options(command, {}, "calibration")
    subject = ImageSubject(options, Here(options.device))
    images, features = subject.examples, subject.features()
    classes = len(images.class_names)
    table = TrainingTable(features, images.labels, classes)
    population = LocalTrainer(table, TrainingRules(options.max_epochs), CPU_HEADS)
    same, crippled = _space(NAMES), _space((*NAMES, "crippled"))
    counts: Counter[str] = Counter()
    end = time.monotonic() + 60 * given.minutes
    seed = given.first_seed
    while time.monotonic() < end:
        with_cripple = seed % EVERY == 0
        changed = Options(**{**vars(options), "seed": seed})
        splits = make_splits(images, changed)
        data = Data(features, images.labels, classes, splits)
        space = crippled if with_cripple else same
        meta = study_meta(changed, space, subject, splits, {})
        _count(counts, answer_of(meta, _records(changed, space, data, population, meta)))
        seed += 1
        if seed % 10 == 1 or time.monotonic() >= end:
            _print(counts)


def _space(names: tuple[str, ...]) -> SearchSpace:
    head = "[head]\ndense_width = 170\ndropout = 0.5\nbatch_size = 16\n"
    tables = "".join(
        f'[optimizers.{name}]\nclass = "Adam"\n{CRIPPLED if name == "crippled" else GOOD}\n'
        for name in names
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.toml"
        path.write_text(head + tables)
        return load_space(str(path))


def _records(
    options: Options, space: SearchSpace, data: Data, population: LocalTrainer, meta: StudyMeta
) -> list[TrialRecord]:
    saved: list[TrialRecord] = []
    Unpaired(options, space, Runner(data, population, {}, [], saved.extend), meta).run()
    return saved


def _count(counts: Counter[str], answer: Answer) -> None:
    excluded = {one.optimizer for one in answer.of(Verdict.EXCLUDED)}
    counts["studies"] += 1
    counts["known"] += answer.known
    counts["repeats"] += sum(one.repeats for one in answer.optimizers)
    counts["optimizers"] += len(answer.optimizers)
    counts["false exclusions"] += bool(excluded - {"crippled"})
    if any(one.optimizer == "crippled" for one in answer.optimizers):
        counts["crippled studies"] += 1
        counts["crippled excluded"] += "crippled" in excluded


def _print(counts: Counter[str]) -> None:
    studies, weak = counts["studies"], counts["crippled studies"]
    print(f"\n{studies} studies, {counts['repeats'] / counts['optimizers']:.1f} repeats each")
    print(f"  known: {_rate(counts['known'], studies)}")
    print(f"  one of the same excluded: {_rate(counts['false exclusions'], studies)}")
    print(f"  the crippled one excluded: {_rate(counts['crippled excluded'], weak)}", flush=True)


def _rate(count: int, of: int) -> str:
    """With Clopper and Pearson's interval."""
    if not of:
        return "none yet"
    low, high = share_interval(count, of)
    return f"{count} of {of} = {100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
