"""How often the report claims a difference that is not there, and whether it finds one that is.

    python tests/benchmarks/calibration.py                 # 10 minutes of studies
    python tests/benchmarks/calibration.py --minutes 60

Runs whole studies on the built-in faces, in one process, so the training program is compiled once.
The same optimizer stands in them under four names: whatever is claimed is false, and that may
happen in 5 % of studies. In every eighth study a fifth name is crippled (its learning rate fixed
1000 times too small): it must be found. A study gives all optimizers of a repeat the
same seeds and proposals, which would make the four names agree to the last bit; here each name
draws its own, the harder case. Prints the rates with their 95 % intervals.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.stats import beta

from study.common.seeds import derive_seed
from study.features.extract import extract_features
from study.features.vgg16 import load_backbone
from study.images.loading import load_images
from study.records.trial_record import TrialRecord
from study.report.analysis.summary import Summary, summarize
from study.search.budget import budget_of
from study.search.options import Options, parse, resolve_options
from study.search.oracles import Proposal, Search
from study.search.protocol import Protocol
from study.search.runner import Runner
from study.search.study_facts import study_meta
from study.search.tasks import Data, Task, make_splits
from study.space.space import SearchSpace, load_space
from study.training.population import Population
from study.training.population_size import CPU_HEADS

NAMES = ("one", "two", "three", "four")
GOOD = "learning_rate = {min = 3e-4, max = 3e-2, scale = 'log'}"
CRIPPLED = "learning_rate = 3e-6"
EVERY = 8  # one study in so many has a crippled optimizer, too
ARGUMENTS = [
    *("--tuner", "random", "--trials", "4", "--max-epochs", "10", "--repeats", "5"),
    *("--confirm", "2"),
]


class Unpaired(Protocol):
    """The protocol with seeds and proposals of its own for every optimizer."""

    def __init__(self, options: Options, space: SearchSpace, runner: Runner) -> None:
        super().__init__(options, space, runner)
        budget = budget_of(options)
        self.searches = {
            (name, repeat): Search(
                space, name, budget, seed=derive_seed(options.seed, name, repeat)
            )
            for repeat in range(options.repeats)
            for name in space.optimizers
        }

    def _task(self, key: str, repeat: int, proposal: Proposal) -> Task:
        task = super()._task(key, repeat, proposal)
        return task._replace(run=replace(task.run, seed=derive_seed(task.run.seed, key)))

    def _rerun(self, *arguments: Any) -> Task:
        task = super()._rerun(*arguments)
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
    images = load_images(None)
    backbone = load_backbone("auto", image_size=options.image_size, preprocess="caffe", device=None)
    features = extract_features(images, backbone, cache_dir=options.cache_dir).features
    classes = len(images.class_names)
    population = Population(
        features, images.labels, classes, max_epochs=options.max_epochs, size=CPU_HEADS
    )
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
        meta = study_meta(changed, space, images, backbone, splits)
        _count(counts, summarize(meta, _records(changed, space, data, population)))
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
    options: Options, space: SearchSpace, data: Data, population: Population
) -> list[TrialRecord]:
    saved: list[TrialRecord] = []
    protocol = Unpaired(options, space, Runner(data, population, {}, [], saved.extend))
    protocol.search()
    protocol.confirm()
    return saved


def _count(counts: Counter[str], found: Summary) -> None:
    alike = [p for p in found.claims.pairs if "crippled" not in p[:2]]
    counts["studies of the same optimizer"] += 1
    counts["false claims, these images"] += any(p.separated for p in alike)
    counts["false claims, new images"] += any(p.carries_over for p in alike)
    counts["sum of margins"] += found.claims.margin
    weak = [p for p in found.claims.pairs if "crippled" in p[:2]]
    if weak:
        counts["crippled studies"] += 1
        counts["found in all pairs"] += all(p.separated for p in weak)
        counts["found for new images"] += all(p.carries_over for p in weak)


def _print(counts: Counter[str]) -> None:
    studies, weak = counts["studies of the same optimizer"], counts["crippled studies"]
    print(f"\n{studies} studies, mean margin {100 * counts['sum of margins'] / studies:.2f} points")
    for key in ("false claims, these images", "false claims, new images"):
        print(f"  {key}: {_rate(counts[key], studies)}")
    for key in ("found in all pairs", "found for new images"):
        print(f"  crippled, {key}: {_rate(counts[key], weak)}", flush=True)


def _rate(count: int, of: int) -> str:
    """With Clopper and Pearson's interval."""
    if not of:
        return "none yet"
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    return f"{count} of {of} = {100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
