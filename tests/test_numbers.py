"""Every number of a report's tables, recomputed from the files of the study by another path.

Plain JSON, NumPy, SciPy and scikit-learn, after docs/report.md, docs/method.md, docs/new_images.md,
the notes above the tables and the formulas that head `study/verdicts/bounds.py` and
`study/verdicts/new_images.py`: nothing of `study` computes here but the page itself. Whole tables
are compared, so no cell is left out, and no bound is only bracketed; Dunnett's quantile is
integrated over the density of the spread. Taken as recorded are seconds, counts of epochs, what
the test set says, the cross-fitted value of an untuned run by another metric than accuracy (what
it predicts is not kept), and what `study.json` says of the study.
"""

import base64
import functools
import itertools
import json
import math
import zlib
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn import metrics as sk
from synthetic import make_records, write_study

from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.summary import load_study
from study.report.html import page

STUDIES = Path(__file__).parent / "studies"
SHORT = {"accuracy": "acc", "balanced_accuracy": "bal acc"}
ORDER = ("good enough", "undecided", "not pursued", "excluded", "no verdict")
VALUES = {"accuracy": sk.accuracy_score, "balanced_accuracy": sk.balanced_accuracy_score}
Rows = list[list[str]]


class Tables(HTMLParser):
    """The tables of a page by the id of their part; end tags of cells and rows are left out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, Rows] = {}
        self.part, self.inside = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "details":
            self.part = dict(attrs).get("id") or ""
        elif tag == "table":
            self.inside, self.found[self.part] = True, []
        elif tag == "tr":
            self.found[self.part].append([])
        elif tag in ("th", "td"):
            self.found[self.part][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.inside and self.found[self.part] and self.found[self.part][-1]:
            self.found[self.part][-1][-1] += data.strip("\n")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "table"


# ---- numbers as they are printed ----


def decimal(value: float | None, digits: int) -> str:
    """Halves away from 0; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value + math.copysign(1e-9, value):z.{digits}f}"


def percent(value: float | None) -> str:
    return decimal(None if value is None else 100 * value, 1)


def upwards(value: float) -> str:
    return "–" if math.isnan(value) else f"{math.ceil(1000 * value - 1e-6) / 10:.1f}"


def shown(value: Any) -> str:
    if isinstance(value, float) and 0.99 < value < 1:  # three digits of what is missing to 1
        return f"{1 - float(f'{1 - value:.3g}'):.12g}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def mean(values: Any) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan


def without_empty(rows: Rows) -> Rows:
    """Columns that have something else than 0 and dashes, and the names."""
    columns = list(zip(*rows, strict=True))
    kept = [
        c for k, c in enumerate(columns) if k == 0 or any(x not in ("0", "–", "") for x in c[1:])
    ]
    return [list(row) for row in zip(*kept, strict=True)]


# ---- the files ----


def unpacked(text: str, below: int) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.min_scalar_type(below - 1))


class Study:
    """The files of a study, and what its runs reached."""

    def __init__(self, folder: Path) -> None:
        lines = {
            name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
            for name in ("trials", "predicted")
        }
        self.folder = folder
        self.meta = json.loads((folder / "study.json").read_text())
        self.runs = sorted(lines["trials"], key=lambda run: run["trial_id"])
        self.names = [n for n in self.meta["optimizers"] if self.of(n, "search", "confirm")]
        self.metric = self.meta["settings"]["metric"]
        self.own = "val_accuracy" if self.metric == "accuracy" else "val_metric"
        self.margin = self.meta["settings"]["margin"] / 100
        classes, count = lines["predicted"][0]["classes"], lines["predicted"][0]["examples"]
        self.labels = unpacked(lines["predicted"][0]["labels"], classes).astype(int)
        self.units = unpacked(lines["predicted"][0]["units"], count).astype(int)
        self.rows, self.said, self.values = {}, {}, {}
        for line in lines["predicted"][1:]:
            if "validation" in line:
                bits = np.unpackbits(unpacked(line["validation"], 256))
                self.rows[line["split"]] = np.flatnonzero(bits)
            else:
                rows = self.rows[line["split"]]
                off = unpacked(line["off"], classes)
                self.said[line["trial_id"]] = rows, (self.labels[rows] + off) % classes

    def of(self, optimizer: str, *phases: str) -> list[dict[str, Any]]:
        return [r for r in self.runs if r["optimizer"] == optimizer and r["phase"] in phases]

    def confirmed(self, optimizer: str, repeat: int | None = None) -> list[dict[str, Any]]:
        """The confirmation runs that converged."""
        found = [r for r in self.of(optimizer, "confirm") if r["status"] == "completed"]
        return [r for r in found if repeat in (None, r["repeat"])]

    def best_epoch(self, run: dict[str, Any]) -> int:
        curve = [-math.inf if value is None else value for value in run[self.own]]
        return curve.index(max(curve)) + 1 if curve else 0

    def at_best(self, run: dict[str, Any], key: str) -> float:
        return run[key][self.best_epoch(run) - 1]

    def value(self, run: dict[str, Any]) -> float:
        if run["trial_id"] not in self.values:
            self.values[run["trial_id"]] = self.computed(run)
        return self.values[run["trial_id"]]

    def computed(self, run: dict[str, Any]) -> float:
        """Cross-fitted; of a search trial that of its best epoch, of a diverged run a guess."""
        if run["status"] != "completed":
            failed = run["status"] == "failed"
            return math.nan if failed else 1 / len(self.meta["class_names"])
        if run["trial_id"] in self.said:
            rows, said = self.said[run["trial_id"]]
            found = VALUES[self.metric](self.labels[rows], said)
            return round(found, 6)  # as recorded: it decides between equals
        a, b = run["val_hits_a"], run["val_hits_b"]
        if not a:
            return self.at_best(run, self.own)
        if self.metric != "accuracy":
            return run["cross_fitted_metric"]
        return (b[a.index(max(a))] + a[b.index(max(b))]) / self.meta["split_sizes"]["validation"]

    def by_repeat(self, optimizer: str) -> dict[int, float]:
        repeats = sorted({run["repeat"] for run in self.confirmed(optimizer)})
        return {r: mean(map(self.value, self.confirmed(optimizer, r))) for r in repeats}

    def trials(self, optimizer: str) -> list[dict[str, Any]]:
        """The search trials: of one that climbed rungs its last."""
        search = self.of(optimizer, "search")
        climbed = {run["continues"] for run in search}
        return [run for run in search if run["trial_id"] not in climbed]


# ---- verdicts ----


def dunnett(alpha: float, rivals: int, freedom: float) -> float:
    """P(all rivals' differences below c errors) = 1 - alpha; they correlate by 1/2."""
    if rivals == 1:
        return float(stats.t.ppf(1 - alpha, freedom))
    y, s = np.linspace(-8, 8, 161), np.linspace(1e-6, 5, 501)
    of_y, of_s = stats.norm.pdf(y), stats.chi.pdf(s * math.sqrt(freedom), freedom)
    of_s *= math.sqrt(freedom)

    def below(c: float) -> float:
        inside = stats.norm.cdf(math.sqrt(2) * c * s[:, None] + y) ** rivals
        return float(np.trapezoid(np.trapezoid(inside * of_y, y) * of_s, s))

    return float(optimize.brentq(lambda c: below(c) - (1 - alpha), 0, 50, xtol=1e-6))


def influences(study: Study, rows: np.ndarray, said: np.ndarray) -> np.ndarray:
    """n times the derivative of a run's value with respect to the weight of each image."""
    true = study.labels[rows]
    hit = (true == said).astype(float)
    if study.metric == "accuracy":
        return hit - hit.mean()
    found = np.zeros(len(rows))
    for label in set(true):
        own = true == label
        found[own] = len(rows) / len(set(true)) * (hit[own] - hit[own].mean()) / own.sum()
    return found


def of_images(study: Study, one: str, other: str) -> tuple[float, float]:
    """V of docs/new_images.md, and the number of units that any run judges."""
    units = study.units.max() + 1
    totals, judging, seen = np.zeros(units), np.zeros(units), set()
    explained, by_repeat = [], defaultdict(list)
    for mine in study.confirmed(one):
        theirs = [
            run
            for run in study.confirmed(other, mine["repeat"])
            if run["confirm"] == mine["confirm"]
        ]
        if not theirs:
            continue
        (rows, a), (_, b) = study.said[mine["trial_id"]], study.said[theirs[0]["trial_id"]]
        sums = np.zeros(units)
        np.add.at(sums, study.units[rows], influences(study, rows, a) - influences(study, rows, b))
        own = len(set(study.units[rows]))
        judging[list(set(study.units[rows]))] += 1
        totals += sums
        seen |= set(rows.tolist())
        explained.append(own / (own - 1) * (sums**2).sum() / len(rows) ** 2)
        by_repeat[mine["repeat"]].append(study.value(mine) - study.value(theirs[0]))
    judged = int((judging > 0).sum())
    raw = (totals**2).sum() / (judging**2).sum() * judged**2 / (len(seen) ** 2 * (judged - 1))
    squares = sum(((np.array(v) - np.mean(v)) ** 2).sum() for v in by_repeat.values())
    within = squares / sum(len(v) - 1 for v in by_repeat.values())
    beyond = max(0.0, within - np.mean(explained) + raw)
    a_class = study.meta["split_sizes"]["train"] / len(study.meta["class_names"])
    return raw + 4 / judged**2 + beyond * max(0.15, 1.2 / a_class), judged


class Bounds:
    """How far row may be behind column, K x K; all optimizers have all repeats of one look."""

    def __init__(self, study: Study) -> None:
        self.study = study
        table = np.array([list(study.by_repeat(name).values()) for name in study.names])
        count, self.repeats = table.shape
        self.alpha = study.meta["looks"][0]["alpha"]
        borrowed = min(4, count - 2)
        self.freedom = borrowed + self.repeats - 1
        left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        usual = (left**2).sum() / ((count - 1) * (self.repeats - 1))
        gaps = table[None] - table[:, None]
        own = gaps.var(axis=2, ddof=1)
        variance = (borrowed * 2 * usual + (self.repeats - 1) * own) / self.freedom
        images = study.meta["split_sizes"]["validation"]
        if study.metric != "accuracy":  # a step is an image of the rarest class
            sizes = study.meta["class_counts"]
            images = len(sizes) * images * min(sizes) / sum(sizes)
        least = math.sqrt(2 / self.repeats) / (images * math.sqrt(12))
        self.means, self.gap = table.mean(axis=1), gaps.mean(axis=2)
        self.error = np.maximum(np.sqrt(variance / self.repeats), least)
        pairs = list(itertools.permutations(range(count), 2))
        self.images, self.units = (
            np.zeros((count, count)),
            np.full((count, count), len(study.labels)),
        )
        for i, j in pairs:
            found = of_images(study, study.names[i], study.names[j])
            self.images[i, j], self.units[i, j] = found

    def reach(self, quantile: Any) -> tuple[np.ndarray, np.ndarray]:
        """Half widths on these images and on new ones; `quantile` takes degrees of freedom."""
        here = quantile(self.freedom) * self.error
        known = {units: quantile(units - 1) for units in np.unique(self.units)}
        factor = np.vectorize(known.__getitem__)(self.units)
        return here, np.sqrt(here**2 + factor**2 * self.images)

    def verdicts(self) -> dict[str, tuple[str, float, float]]:
        """Verdict, bound on these images, bound on new ones."""
        study, size = self.study, len(self.means)
        here, new = self.reach(lambda freedom: dunnett(self.alpha, size - 1, freedom))
        rival = ~np.eye(size, dtype=bool)
        excluded = (np.where(rival, self.gap - here, -1) > 0).any(axis=1)
        found = [
            [
                max(0.0, np.where(rival & ~out, self.gap + half, -1)[i].max())
                for half, out in ((here, excluded), (new, np.zeros(size, bool)))
            ]
            for i in range(size)
        ]
        diverged = [len(study.of(n, "confirm")) > len(study.confirmed(n)) for n in study.names]
        good = [f[0] <= study.margin and not d for f, d in zip(found, diverged, strict=True)]
        ended = study.meta["looks"][-1]["repeats"] == self.repeats
        assert ended or any(good)  # else who runs on would have to be worked out here
        open_ = "undecided" if ended else "not pursued"
        words = ["good enough" if g else "excluded" if e else open_
                 for g, e in zip(good, excluded, strict=True)]  # fmt: skip
        claims = [
            [b if b < 1 - m or b <= study.margin else math.nan for b in bounds]
            for bounds, m in zip(found, self.means, strict=True)
        ]
        return {n: (w, *c) for n, w, c in zip(study.names, words, claims, strict=True)}


@functools.cache
def verdicts(study: Study) -> dict[str, tuple[str, float, float]]:
    if max(run["repeat"] for run in study.runs) + 1 < 5:
        return dict.fromkeys(study.names, ("no verdict", math.nan, math.nan))
    return Bounds(study).verdicts()


@functools.cache
def means(study: Study) -> dict[str, float]:
    """The mean of each optimizer, the leader first; means over repeats of those over runs."""
    said = verdicts(study)
    found = {name: mean(study.by_repeat(name).values()) for name in study.names}
    leader = max(found, key=lambda name: (said[name][0] == "good enough", found[name]))
    best = study.by_repeat(leader)
    for name in found:
        own = study.by_repeat(name)
        behind = mean(best[repeat] - own[repeat] for repeat in best.keys() & own.keys())
        runs = [study.value(run) for run in study.confirmed(name)]
        found[name] = float(np.clip(found[leader] - behind, min(runs), max(runs)))
    order = [leader, *(name for name in found if name != leader)]
    return {name: found[name] for name in order}


def ordered(study: Study) -> list[str]:
    """By verdict, then by bound, then the leader, then by mean."""
    said, found = verdicts(study), means(study)
    leader = next(iter(found))
    return sorted(
        found,
        key=lambda n: (
            ORDER.index(said[n][0]),
            math.inf if math.isnan(said[n][1]) else said[n][1],
            n != leader,
            -found[n],
        ),
    )


# ---- the tables ----


def ranking(study: Study) -> Rows:
    short, both = SHORT[study.metric], study.metric != "accuracy"
    head = ["optimizer", "verdict", "behind ≤", "new ≤", f"val {short}", f"test {short}"]
    head += ["val acc", "test acc"] if both else []
    head += ["diverged", "search diverged", "failed", "repeats", "val loss", f"last {short}"]
    rows = [[*head, "best epoch", "s/trial", "trials", "epochs"]]
    said, found = verdicts(study), means(study)
    for name in ordered(study):
        runs, trials, search = study.confirmed(name), study.trials(name), study.of(name, "search")
        every = study.of(name, "confirm")
        verdict, behind, new = said[name]
        ends = [run["status"] for run in trials]
        own = "test_metric" if both else "test_accuracy"
        rows.append(
            [
                *(name, verdict, upwards(behind), upwards(new), percent(found[name])),
                percent(mean(run[own] for run in runs)),
                *([percent(mean(study.at_best(run, "val_accuracy") for run in runs)),
                   percent(mean(run["test_accuracy"] for run in runs))] if both else []),
                f"{sum(run['status'] == 'diverged' for run in every)}/{len(every)}",
                *(str(ends.count("diverged")), str(ends.count("failed"))),
                str(len(study.by_repeat(name))),
                decimal(mean(study.at_best(run, "val_loss") for run in runs), 3),
                percent(mean(run[study.own][-1] for run in runs)),
                decimal(mean(study.best_epoch(run) for run in runs), 0),
                decimal(sum(run["seconds"] for run in search) / len(trials), 2),
                str(len(trials)),
                str(sum(run["epochs"] - run["initial_epoch"] for run in search)),
            ]
        )  # fmt: skip
    return without_empty(rows)


def settings(study: Study) -> Rows:
    """Those of the repeat in the middle, of its best run; in brackets the range over repeats."""
    columns: dict[str, dict[str, str]] = {}
    for name in ordered(study):
        by_repeat = study.by_repeat(name)
        falling = sorted(by_repeat, key=lambda repeat: (-by_repeat[repeat], repeat))
        middle = study.confirmed(name, falling[(len(falling) - 1) // 2])
        best = max(middle, key=study.value)["hyperparameters"]
        winners = [study.confirmed(name, repeat)[0]["hyperparameters"] for repeat in by_repeat]
        columns[name] = {}
        for key, value in best.items():
            found = [winner[key] for winner in winners if key in winner]
            if all(type(v) in (int, float) for v in found):
                texts = [shown(edge) for edge in (min(found), max(found))]
                several = " to ".join(texts)
            else:
                texts = sorted({shown(v) for v in found})
                several = ", ".join(texts)
            more = f" ({several})" if len(set(map(shown, found))) > 1 else ""
            columns[name][key] = shown(value) + more
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    keys = [key for key in keys if len({c.get(key, "") for c in columns.values()}) > 1]
    rows = [[key, *(column.get(key, "") for column in columns.values())] for key in keys]
    assert len(keys) > len(columns)  # the longer side goes down
    return [["hyperparameter", *columns], *rows]


def robustness(study: Study) -> Rows:
    words = study.metric.replace("_", " ")
    head = ["optimizer", f"median {words} of random settings (%)", "worst tenth (%)"]
    head += ["random settings", "diverged", "diverged, 95 % CI (%)", "epochs to the margin"]
    rows = [[*head, "seconds"]]
    assert study.meta["settings"]["tuner"] in ("hyperband", "random")  # both draw at random
    for name in ordered(study):
        alive = [run for run in study.of(name, "search") if run["status"] != "failed"]
        drawn = [run for run in alive if run["continues"] is None]
        longest = max(run["epochs"] for run in alive)
        scores = sorted(study.value(run) for run in drawn if run["epochs"] == longest)
        enough = len(scores) >= 5
        climbed = {run["continues"] for run in alive}
        lost = sum(r["status"] == "diverged" for r in alive if r["trial_id"] not in climbed)
        # Clopper and Pearson's interval; one-sided where none or all diverged.
        level = 0.90 if lost in (0, len(drawn)) else 0.95
        edges = stats.binomtest(lost, len(drawn)).proportion_ci(level, method="exact")
        until = [
            next(
                epoch
                for epoch, value in enumerate(run[study.own], start=1)
                if value >= max(run[study.own]) - study.margin
            )
            for run in study.confirmed(name)
        ]
        spent = [
            run["seconds"] * epoch / run["epochs"]
            for run, epoch in zip(study.confirmed(name), until, strict=True)
        ]
        rows.append(
            [
                name,
                percent(np.quantile(scores, 0.5) if enough else math.nan),
                percent(np.quantile(scores, 0.1) if enough else math.nan),
                *(str(len(scores)), f"{lost}/{len(drawn)}"),
                f"{percent(edges.low)}–{percent(edges.high)}",
                *(decimal(mean(until), 1), decimal(mean(spent), 2)),
            ]
        )
    return without_empty(rows)


def pairs(study: Study) -> Rows:
    """Those that are separated, with Student's quantile for all ordered pairs."""
    if not any(math.isfinite(behind) for _, behind, _ in verdicts(study).values()):
        return []  # nothing was compared
    found, bounds, size = means(study), Bounds(study), len(study.names)
    level = 1 - bounds.alpha / (size * (size - 1))
    here, new = bounds.reach(lambda freedom: stats.t.ppf(level, freedom))
    rows = []
    for i, j in itertools.permutations(range(size), 2):
        first, second = study.names[i], study.names[j]
        ahead, reach = -bounds.gap[i, j], here[i, j]
        if found[first] < found[second] or abs(ahead) <= reach:
            continue
        by_repeat = defaultdict(list)
        for a, b in itertools.product(study.confirmed(first), study.confirmed(second)):
            if (a["repeat"], a["confirm"]) == (b["repeat"], b["confirm"]):
                by_repeat[a["repeat"]].append((np.sign(study.value(a) - study.value(b)) + 1) / 2)
        share = float(np.mean([np.mean(won) for won in by_repeat.values()]))
        z2 = stats.norm.ppf(0.975) ** 2 / len(by_repeat)  # Wilson 1927
        middle = (share + z2 / 2) / (1 + z2)
        half = math.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        cells = [f"{first} over {second}", str(bounds.repeats), percent(ahead)]
        cells += [f"{percent(ahead - r)} to {percent(ahead + r)}" for r in (reach, new[i, j])]
        cells += ["yes" if ahead > new[i, j] else "no", decimal(share, 2)]
        cells += [f"{decimal(low, 2)} to {decimal(high, 2)}"]
        cells += ["yes" if share >= 0.75 and low > 0.5 else "no"]
        rows.append((ahead / reach, cells))
    rows.sort(key=lambda row: -row[0])  # the surest first
    noun = "image" if "images" in study.meta["data"] else "row"
    head = ["pair", "repeats", "difference", "95 %", f"95 % new {noun}s", "carries over"]
    head += ["P(A > B)", "95 % of P", "meaningful"]
    return [head, *(cells for _, cells in rows)] if rows else []


def about(study: Study) -> Rows:
    meta = study.meta
    noun = "images" if "images" in meta["data"] else "rows"
    facts: dict[str, Any] = {"study": meta["name"], "created": meta["created"]}
    facts |= {"classes": len(meta["class_counts"]), noun: len(study.labels)}
    if groups := meta["data"]["groups"]:
        origin = "table" if meta["settings"].get("labels") else "file"
        assert groups == len(set(study.units))
        facts["groups"] = f"{groups}, by the column group of the {origin}"
    facts["split"] = ", ".join(f"{part} {size}" for part, size in meta["split_sizes"].items())
    facts["runs"] = len(study.runs)
    device = {key: v for key, v in meta["device"].items() if key not in ("widths", "rounding")}
    facts["device"] = ", ".join(str(v) for v in device.values() if v)
    facts["weights"] = meta["weights"].get("source", "")
    facts["versions"] = ", ".join(f"{name} {v}" for name, v in meta["versions"][0].items())
    facts["git commit"] = meta["git_commit"] or ""
    facts |= {f"--{key.replace('_', '-')}": v for key, v in meta["settings"].items()}
    return [["what", "value"], *([key, str(v)] for key, v in facts.items() if v != "")]


def all_runs(study: Study) -> Rows:
    short, both = SHORT[study.metric], study.metric != "accuracy"
    keys = list(dict.fromkeys(key for run in study.runs for key in run["hyperparameters"]))
    head = ["run", "optimizer", "phase", "repeat", "bracket", "rung", "epochs", "status"]
    rows = [[*head, f"val {short}", "best epoch", f"test {short}", "seconds", *keys]]
    reached = {run["trial_id"]: study.value(run) for run in study.runs}
    keys_of = {name: math.inf if v != v else -round(v, 6) for name, v in reached.items()}
    for run in sorted(study.runs, key=lambda run: keys_of[run["trial_id"]]):  # the best first
        test = run["test_metric" if both else "test_accuracy"]
        values = run["hyperparameters"]
        rows.append(
            [
                *(run["trial_id"], run["optimizer"], run["phase"], str(run["repeat"])),
                *("" if run[key] is None else str(run[key]) for key in ("bracket", "rung")),
                *(str(run["epochs"]), run["status"], percent(study.value(run))),
                *(str(study.best_epoch(run)), "" if test is None else percent(test)),
                decimal(run["seconds"], 2),
                *(shown(values[key]) if key in values else "" for key in keys),
            ]
        )
    return without_empty(rows)


RECOMPUTED = {
    "ranking": ranking,
    "typical-hyperparameters-of-the-winners": settings,
    "robustness-and-cost": robustness,
    "separated-pairs": pairs,
    "about-this-study": about,
    "runs": all_runs,
}


def made_up(logs: Path) -> Path:
    """Four optimizers with every kind of verdict but one; two confirmation runs diverged."""
    records = make_records(names := ["sgd", "lion", "adam", "nadam"], repeats=5, trials=24)
    of_lion = [r.trial_id for r in records if (r.optimizer, r.phase) == ("lion", Phase.CONFIRM)]
    status = dict.fromkeys(of_lion[3:9:5], TrialStatus.DIVERGED)
    records = [replace(r, status=status.get(r.trial_id, r.status)) for r in records]
    return write_study(logs, names, records=records)


@pytest.fixture(scope="module", params=["faces", "rows", "table", "made up"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Rows], Study]:
    """The tables of a page, and the files; the study that is made up has separated pairs."""
    folder = STUDIES / request.param
    if request.param == "made up":
        folder = made_up(tmp_path_factory.mktemp("logs"))
    return Tables(page(load_study(folder), [], [])).found, Study(folder)


@pytest.mark.parametrize("part", RECOMPUTED)
def test_a_table_says_what_the_files_say(both: tuple[dict[str, Rows], Study], part: str) -> None:
    found, study = both
    assert found.get(part, []) == RECOMPUTED[part](study)


def test_no_table_of_the_page_is_left_out(both: tuple[dict[str, Rows], Study]) -> None:
    assert both[0].keys() | {"separated-pairs"} == RECOMPUTED.keys()
