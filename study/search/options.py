"""Everything that a user can decide about a study: `Options`.

Each option is declared once, as a field: its type, its rule, its default, its help. How values come
in and are checked stands in `command_line.py`.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from study.common.bases import DEFAULT_BASE, PREPROCESS
from study.common.metrics import ACCURACY, WORDS
from study.data.copies import KEEP, TOGETHER
from study.data.groups import SUBFOLDER
from study.search.option_rules import (
    CLUSTER,
    NAME,
    PATH,
    TEXT,
    Option,
    minutes,
    option,
    part,
    repeats,
    switch,
    whole,
)
from study.verdicts.looks import AUTO, DEFAULT_MARGIN, FEWEST_REPEATS, MARGIN_RULE, margin_points


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything a user can decide about a study."""

    data: str | None = option(
        TEXT,
        None,
        "images",
        "folder of class folders [the built-in faces]",
        continued="free",
        only_for="images",
    )
    features: str | None = option(
        TEXT,
        None,
        "images",
        "instead of images: a .npz file of rows that any model has computed, x (N, d) and y (N,)",
        in_space=False,
        continued="free",
        only_for="rows",
    )
    follow_links: bool = switch(
        "images", "use what links inside class folders lead to, anywhere", only_for="images"
    )
    strict: bool = switch(
        "images", "refuse a folder with files that cannot be decoded", only_for="images"
    )
    labels: str | None = option(
        TEXT,
        None,
        "images",
        "CSV file with columns file and label, perhaps split and group, of images in --data [the "
        "folder of the table]",
        continued="free",
        only_for="images",
    )
    group: str | None = option(
        TEXT,
        None,
        "images",
        "images of one folder inside a class folder stay on one side of a split",
        choices=(SUBFOLDER,),
        only_for="images",
    )
    group_pattern: str | None = option(
        TEXT,
        None,
        "images",
        "regular expression: images whose path has the same text in its brackets stay on one side",
        only_for="images",
    )
    near_duplicates: str = option(
        TEXT,
        TOGETHER,
        "images",
        "near copies stay on one side of a split, or are kept as different images [together]",
        choices=(TOGETHER, KEEP),
        continued="free",
        only_for="images",
    )
    base: str = option(
        TEXT,
        DEFAULT_BASE,
        "images",
        "frozen model: any of keras.applications, or FILE.keras of your own; several, A,B, are a "
        f"study each, compared at the end [{DEFAULT_BASE}]",
        continued="weights",
        only_for="images",
    )
    image_size: int = option(
        whole(32, 2048),
        224,
        "images",
        "pixels a side [224; faces 112], if FILE.keras has none of its own",
        faces=112,
        only_for="images",
    )
    preprocess: str = option(
        TEXT,
        None,
        "images",
        "how pixels reach the base, of a FILE.keras to be said [as the base was trained]",
        choices=tuple(PREPROCESS),
        only_for="images",
    )
    views: int = option(
        whole(1, 1000),
        1,
        "images",
        "of each training image: itself and crops, turned, perhaps mirrored, darker or brighter; "
        "each epoch trains on one of them [1]",
        only_for="images",
    )
    split: str = option(
        TEXT,
        "stratified",
        "images",
        "fresh stratified splits, Keras's one assignment, or folders train, val, test as they are",
        choices=("stratified", "keras", "folders"),
    )
    split_seed: int = option(
        whole(1, 2**32 - 1), 12, "images", "seed of --split keras [12]", only_for="images"
    )
    validation_split: float = option(
        part(False), 0.2, "images", "part of all images [0.2; faces 0.4]", faces=0.4
    )
    test_split: float = option(
        part(True),
        0.2,
        "images",
        "part of all images put aside until the end, without a folder test [0.2; faces 0.3]",
        faces=0.3,
    )
    space: str = option(
        TEXT,
        "default",
        "search",
        "default, quick, blog_t11 or a .toml file [default]",
        in_space=False,
        continued="space",
    )
    optimizers: str | None = option(
        TEXT, None, "search", "only these, e.g. adam,sgd [all of the space]", continued="space"
    )
    code: tuple[Path, ...] = option(
        PATH, (), "search", "Python file with optimizers of your own, which is run; repeatable",
        in_space=False, decides=False, many=True,
    )  # fmt: skip
    tuner: str = option(
        TEXT,
        "hyperband",
        "search",
        "Keras Tuner's search method [hyperband]",
        choices=("hyperband", "random", "bayesian", "grid"),
    )
    max_epochs: int = option(whole(1, 100_000), 30, "search", "epochs of a full trial [30]")
    factor: int = option(whole(2, 100), 3, "search", "Hyperband keeps one in FACTOR a rung [3]")
    trials: int = option(
        whole(1, 1_000_000),
        20,
        "search",
        "trials a search, random, bayesian, grid [20]",
        continued="longer",
    )
    allocation: str = option(
        TEXT,
        "equal",
        "search",
        "a search for each optimizer, or one over all [equal]",
        choices=("equal", "joint"),
    )
    metric: str = option(
        TEXT,
        ACCURACY,
        "search",
        "what decides between epochs, trials and optimizers [accuracy]",
        choices=tuple(WORDS),
    )
    margin: float = option(
        (margin_points, MARGIN_RULE),
        DEFAULT_MARGIN,
        "search",
        "points of the metric that may be lost: whoever is at most so far behind the best is good "
        f"enough [{DEFAULT_MARGIN:g}]",
        continued="free",
    )
    repeats: int | str = option(
        (repeats, f"auto, or {whole(1, 10_000)[1]}"),
        AUTO,
        "search",
        "whole searches with fresh splits and seed: as many as the answer takes, or this many "
        "[auto]",
        continued="looks",
    )
    most_repeats: int = option(
        whole(FEWEST_REPEATS, 10_000),
        27,
        "search",
        "--repeats auto ends there even if the answer is not known [27]",
        continued="looks",
    )
    confirm: int = option(
        whole(1, 10_000),
        5,
        "search",
        "reruns of each winner with fresh seeds, each on a fresh split [5]",
        continued="looks",
    )
    seed: int = option(whole(1, 10**18), 1, "search", "of everything random, 1 or more [1]")
    time_limit: float | None = option(
        (minutes, "minutes, above 0"),
        None,
        "search",
        "minutes after which no new trials start; winners so far are still confirmed",
        continued="free",
    )
    population: int | None = option(
        whole(1, 10_000),
        None,
        "machine",
        "heads trained at once [chosen for the device]",
        continued="free",
    )
    device: str | None = option(
        TEXT,
        None,
        "machine",
        "[the first GPU if there is one]",
        choices=("cpu", "gpu"),
        in_space=False,
        continued="free",
    )
    cluster: str | None = option(
        CLUSTER,
        None,
        "machine",
        "train on a Ray cluster: auto (the one that this machine belongs to), local (one of its "
        "own, to try it), HOST:PORT or ray://HOST:PORT [this process]",
        in_space=False,
        decides=False,
    )
    weights: str = option(
        TEXT,
        "auto",
        "machine",
        "auto, random, or an .h5 or .keras file [auto]",
        in_space=False,
        continued="weights",
        only_for="images",
    )
    name: str = option(
        NAME, None, "files", "of the study [SPACE-TUNER]", in_space=False, decides=False
    )
    overwrite: bool = switch("files", "delete the study of this name and start anew")
    logs: Path = option(
        PATH,
        Path("logs"),
        "files",
        "folder of all studies [logs]",
        in_space=False,
        decides=False,
    )
    cache_dir: Path | None = option(
        PATH,
        None,
        "files",
        "of the computed features [your cache folder]",
        in_space=False,
        decides=False,
    )
    dry_run: bool = switch("files", "print the plan and stop")

    @property
    def own_device(self) -> str | None:
        """What this process computes on, as for `pick_device`: a GPU is for a cluster's worker."""
        return self.device if self.cluster is None else "cpu"

    def settings(self) -> dict[str, Any]:
        """What decides a study's result or its length; not where it is stored."""
        other = "rows" if self.features is None else "images"
        return {
            key: getattr(self, key)
            for key, one in OPTIONS.items()
            if one.decides and one.only_for != other
        }


OPTIONS: dict[str, Option] = {one.name: one.metadata["option"] for one in fields(Options)}
