"""All that a user can decide about a study: `Options`.

Each option is declared once, as a field with its name, type, group, default, rule, help and reach.
The command line, its help, the arguments of `study.run`, the `[study]` table of a search space, all
refusals and `docs/options.md` follow from these declarations. `command_line.py` reads the values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from study.common.bases import DEFAULT_BASE, PREPROCESS
from study.common.metrics import ACCURACY, WORDS
from study.data.copies import KEEP, TOGETHER
from study.data.groups import SUBFOLDER
from study.data.splits.study_splits import FRACTION
from study.machines.connection import ADDRESS_RULE, cluster_address
from study.records.study_meta import BEST, MOST_REPEATS
from study.verdicts.looks import AUTO, DEFAULT_MARGIN, FEWEST_REPEATS, MARGIN_RULE, margin_points

T = TypeVar("T")


class Rule(NamedTuple):
    """The valid values of an option, and how a text becomes a value."""

    metavar: str  # placeholder of a value in the help
    words: str  # "... but needs `words`", unless there are `choices`
    read: Callable[[str], Any] | None  # raises ValueError; None: a switch
    choices: tuple[str, ...] = ()  # all valid texts; empty: `read` decides


def whole(low: int, high: int) -> Rule:
    """Return the rule of whole numbers from `low` to `high`."""
    words = f"a whole number, at least {low} and at most {high:,}"
    return real("N", words, lambda value: low <= value <= high, kind=int)


def real(
    metavar: str, words: str, valid: Callable[[Any], bool], kind: Callable[[str], Any] = float
) -> Rule:
    """Return the rule of the numbers that are `valid`, described by `words`."""

    def read(text: str) -> Any:
        value = kind(text)
        if not valid(value):
            raise ValueError
        return value

    return Rule(metavar, words, read)


def text(metavar: str, read: Callable[[str], Any] = str) -> Rule:
    """Return the rule of any text with a visible character, as `read` converts it."""
    return Rule(metavar, "a text", lambda given: read(_text(given)))


def one_of(*choices: str) -> Rule:
    """Return the rule of these texts."""
    return Rule("|".join(choices), "", _text, choices)


def _text(given: str) -> str:
    if not given.strip():
        raise ValueError
    return given


def _auto_or_whole(given: str) -> int | str:
    return AUTO if given == AUTO else int(whole(1, MOST_REPEATS).read(given))  # type: ignore[misc]


def _study_name(given: str) -> str:
    if given.startswith((".", "-")) or not all(map(in_name, given)) or len(given.encode()) > 100:
        raise ValueError
    return _text(given)


def in_name(character: str) -> bool:
    """Return whether a study's name, a folder's name on every system, may contain `character`."""
    return character.isalnum() or character in "-_."


SWITCH = Rule("", "True or False", None)
REPEATS = Rule("N", f"auto, or {whole(1, MOST_REPEATS).words}", _auto_or_whole)
NAME = Rule("NAME", "letters, digits, - _ and . (at most 100 bytes, not . or - first)", _study_name)


class Option(NamedTuple):
    """An option without its name and type, which its field in `Options` has."""

    default: Any
    group: str  # heading in the help
    help: str  # without the default
    rule: Rule
    unset: str = ""  # the default in words, where its value says little
    faces: Any = None  # default for the built-in faces, if different
    only_for: Literal["images", "rows"] | None = None  # no effect on a study of the other kind
    needs: tuple[str, tuple[str, ...]] | None = None  # no effect unless that option is one of these
    many: bool = False  # may be given several times
    rare: bool = False  # in --help-all only
    # "space": a space's [study] table may set it, too; "study": the study records it, like those
    # of "space"; "call": it concerns only this call.
    reach: Literal["space", "study", "call"] = "space"
    # What a resumed study may change: nothing; what its looks allow; to longer searches; anything;
    # "space" and "weights" are compared by their content.
    continued: Literal["same", "looks", "longer", "free", "space", "weights"] = "same"


def option(group: str, default: T, rule: Rule, words: str, **more: Any) -> T:
    """Return a field of `Options`; `more` are fields of `Option`."""
    own = Option(default, group, words, rule, **more)
    made: T = field(default=default, metadata={"option": own})
    return made


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that a user can decide about a study."""

    # fmt: off
    data: str | None = option(
        "data", None, text("DIR"), "folder of class folders",
        unset="the built-in faces", only_for="images", continued="free")
    labels: str | None = option(
        "data", None, text("FILE.csv"), "table of images beside it or below --data: columns "
        "file, label, optionally split, group, weight", only_for="images", continued="free")
    features: str | None = option(
        "data", None, text("FILE.npz"), "rows from any other model instead of images: x (N, d) "
        "and y (N,)", only_for="rows", reach="study", continued="free")
    follow_links: bool = option(
        "data", False, SWITCH, "use the targets of links inside class folders, wherever they are",
        only_for="images", reach="call", rare=True)
    strict: bool = option(
        "data", False, SWITCH, "refuse a folder with files that cannot be decoded",
        only_for="images", reach="call", rare=True)
    group: str | None = option(
        "data", None, one_of(SUBFOLDER), "keep all images of a folder inside a class folder "
        "on one side of every split", only_for="images")
    group_pattern: str | None = option(
        "data", None, text("REGEX"), "the same for images whose paths agree in the parentheses "
        r"of a regular expression: 'patient(\d+)'", only_for="images")
    near_duplicates: str = option(
        "data", TOGETHER, one_of(TOGETHER, KEEP), "keep near-duplicates on one side of a split, "
        "or treat them as different images", only_for="images", continued="free", rare=True)
    split: str = option(
        "data", "stratified", one_of("stratified", "keras", "folders"), "draw fresh "
        "stratified splits, use Keras's one split, or use the folders train, val and test as "
        "they are",
        rare=True)
    split_seed: int = option(
        "data", 12, whole(1, 2**32 - 1), "seed of --split keras", only_for="images", rare=True)
    validation_split: float = option(
        "data", FRACTION,
        real("X", "a fraction of the images, above 0 to below 1", lambda x: 0 < x < 1),
        "fraction of all images for validation", faces=0.4, rare=True)
    test_split: float = option(
        "data", FRACTION,
        real("X", "a fraction of the images, 0 to below 1", lambda x: 0 <= x < 1),
        "fraction of all images set aside until the end, unless there is a test folder",
        faces=0.3, rare=True)

    base: str = option(
        "base", DEFAULT_BASE, text("NAME"), "frozen network: a model of keras.applications or your "
        "own FILE.keras; A,B runs a study of each and compares them",
        only_for="images", continued="weights")
    views: int = option(
        "base", 1, whole(1, 1000), "train on each image and N - 1 crops of it, turned, mirrored, "
        "brighter, darker; each epoch draws one", only_for="images")
    image_size: int = option(
        "base", 224, whole(32, 2048), "pixels per side; FILE.keras may fix its own",
        faces=112, only_for="images", rare=True)
    preprocess: str = option(
        "base", "", one_of(*PREPROCESS), "how pixels are prepared; required for FILE.keras",
        unset="as the base was trained", only_for="images", rare=True)
    weights: str = option(
        "base", "auto", text("FILE"), "weights of the base: auto, random, or an .h5 or .keras file",
        only_for="images", reach="study", continued="weights", rare=True)

    space: str = option(
        "search", "default", text("NAME"), "search space: default, quick, blog_t11, or a .toml "
        "file", reach="study", continued="space")
    optimizers: str | None = option(
        "search", None, text("A,B"), "tune only these, such as adam,sgd",
        unset="all of the space", continued="space")
    code: tuple[Path, ...] = option(
        "search", (), text("FILE.py", Path), "Python file that defines your own optimizers; it is "
        "run; repeatable", reach="call", many=True)
    tuner: str = option(
        "search", "hyperband", one_of("hyperband", "random", "bayesian", "grid"),
        "Keras Tuner's search method")
    trials: int = option(
        "search", 20, whole(1, 1_000_000), "trials of each search; not for hyperband",
        needs=("tuner", ("random", "bayesian", "grid")), continued="longer")
    max_epochs: int = option("search", 30, whole(1, 100_000), "epochs of a full trial", rare=True)
    factor: int = option(
        "search", 3, whole(2, 100), "hyperband keeps one trial in N at each rung",
        needs=("tuner", ("hyperband",)), rare=True)
    allocation: str = option(
        "search", "equal", one_of("equal", "joint"), "one search for each optimizer, or one over "
        "all of them", rare=True)
    seed: int = option("search", 1, whole(1, 10**18), "seed of all random streams", rare=True)

    metric: str = option("answer", ACCURACY, one_of(*WORDS), "the score to maximize")
    margin: float = option(
        "answer", DEFAULT_MARGIN, Rule("POINTS", MARGIN_RULE, margin_points), "metric "
        "points an optimizer may be behind the best and still be good enough", continued="free")
    ask: str = option(
        "answer", BEST, text("best|all|A,B"), "go on until one is good enough (best), or until "
        "the verdict on each of A,B or on all is known", continued="free")
    repeats: int | str = option(
        "answer", AUTO, REPEATS, "repeats of every search with fresh splits and seeds; auto: until "
        "the answer is known", continued="looks")
    most_repeats: int = option(
        "answer", 27, whole(FEWEST_REPEATS, MOST_REPEATS), "stop --repeats auto here, even without "
        "an answer", needs=("repeats", (AUTO,)), continued="looks")
    time_limit: float | None = option(
        "answer", None, real("MINUTES", "minutes, above 0", lambda x: 0 < x < math.inf),
        "stop the search after this time; the winners so far are still confirmed",
        continued="free")
    confirm: int = option(
        "answer", 5, whole(1, 10_000), "confirmation runs of each winner, each with a fresh seed "
        "and split", continued="looks", rare=True)

    cluster: str | None = option(
        "machine", None, Rule("ADDRESS", ADDRESS_RULE, cluster_address), "train on a Ray cluster: "
        "auto (this machine's), local (a new one, to try it), HOST:PORT or ray://HOST:PORT",
        reach="call")
    device: str | None = option(
        "machine", None, one_of("cpu", "gpu"), "device to compute on",
        unset="a GPU if there is one", reach="study", continued="free", rare=True)
    population: int | None = option(
        "machine", None, whole(1, 10_000), "heads trained at a time", unset="chosen for the device",
        continued="free", rare=True)

    name: str = option(
        "files", "", NAME, "name of the study", unset="SPACE-TUNER", reach="call")
    overwrite: bool = option(
        "files", False, SWITCH, "delete the study of this name and start again", reach="call")
    dry_run: bool = option(
        "files", False, SWITCH, "print the plan, then stop", reach="call")
    logs: Path = option(
        "files", Path("logs"), text("DIR", Path), "folder of all studies", reach="call", rare=True)
    cache_dir: Path | None = option(
        "files", None, text("DIR", Path), "folder of computed features and compiled programs",
        unset="your cache folder", reach="call", rare=True)
    # fmt: on
    command: str = ""  # that resumes the study, as the user would type it

    def settings(self) -> dict[str, Any]:
        """Return the options that decide a study's result or length, not where it is stored."""
        other = "rows" if self.features is None else "images"
        return {
            key: getattr(self, key)
            for key, one in OPTIONS.items()
            if one.reach != "call" and one.only_for != other
        }


OPTIONS: dict[str, Option] = {
    one.name: one.metadata["option"] for one in fields(Options) if one.metadata
}
