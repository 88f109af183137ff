"""What to write in a paper: how a study was made and what it says, in a paragraph to paste."""

from collections.abc import Iterable, Sequence

from study.common.bases import is_file, short_name
from study.common.text import counted, join, points
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.ranking import Row
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.looks import FEWEST_REPEATS

REFERENCES = (
    "Hsu, J. C. (1984). Constrained simultaneous confidence intervals for multiple comparisons "
    "with the best. The Annals of Statistics 12(3).",
    "Nadeau, C. and Bengio, Y. (2003). Inference for the generalization error. Machine Learning "
    "52(3).",
    "Smyth, G. K. (2004). Linear models and empirical Bayes methods for assessing differential "
    "expression in microarray experiments. Statistical Applications in Genetics and Molecular "
    "Biology 3(1).",
)


def citation(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> tuple[str, ...]:
    """Paragraphs: data, budget, judgement, verdicts, references; nothing before any rerun."""
    if not any(row.basis is Phase.CONFIRM for row in rows):
        return ()
    made = " ".join((_data(meta), _budget(meta, rows), *_own_code(meta)))
    if not answer.looked or len(answer.optimizers) < 2:
        return made, f"Nothing is claimed: that takes two optimizers and {FEWEST_REPEATS} repeats."
    return made, f"{_judged(meta, answer)} {_verdicts(meta, answer)}", *REFERENCES


def _data(meta: StudyMeta) -> str:
    sizes, versions = meta.split_sizes, meta.versions[-1]
    names = ("tensorflow", "keras", "keras-tuner")
    programs = join([f"{name} {versions[name]}" for name in names])
    return (
        f"{counted(len(meta.optimizers), 'optimizer')} were compared with optimizer-study "
        f"({programs}) as trainers of a dense head on {_features(meta)}, on "
        f"{sum(meta.class_counts)} {meta.noun}s of {len(meta.class_names)} classes: "
        f"{sizes['train']} to train, {sizes['validation']} to validate, {sizes['test']} to test."
        + _groups(meta)
    )


def _groups(meta: StudyMeta) -> str:
    number, near = meta.data["groups"], sum(map(len, meta.data.get("near_copies", [])))
    if meta.one_split:
        return " The split is the data's own." if number or near else ""
    text = ""
    if number:
        text += f" They belong to {counted(number, 'group')}, none of which a split parts."
    if near:
        text += f" Near copies ({near} {meta.noun}s) stayed on one side of every split."
    return text


def _features(meta: StudyMeta) -> str:
    if meta.noun == "row":
        return f"given features ({meta.data['file']}, {meta.data['features']} numbers a row)"
    size, views = meta.settings["image_size"], int(meta.settings["views"])
    text = f"the {meta.data['features']} pooled features of a frozen {_base(meta)} ({size} px)"
    if views > 1:
        text += f" of {views} views of each training image, one an epoch"
    return text


def _base(meta: StudyMeta) -> str:
    """The base, and whose weights it has."""
    name, weights = short_name(meta.base), meta.settings["weights"]
    if is_file(meta.base):
        return f"network of our own ({name}, fingerprint {meta.weights['digest'][:12]})"
    if weights == "auto":
        return f"ImageNet {name}"
    if weights == "random":
        return f"{name} with random weights"
    return f"{name} with weights of {short_name(weights)}"


def _budget(meta: StudyMeta, rows: Sequence[Row]) -> str:
    """What a search was given; the numbers are those of the records."""
    settings = meta.settings
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    trials = _range((_per_repeat(row.trials, row.searches) for row in confirmed), "trial")
    repeats = _range((len(row.by_repeat) for row in confirmed), "repeat")
    space = meta.space
    one = "one search over all optimizers" if settings["allocation"] == "joint" else (
        "a search for each optimizer, all with the same budget"
    )  # fmt: skip
    fresh = "the same split as all others, fresh seeds" if meta.one_split else (
        "fresh splits and seeds"
    )  # fmt: skip
    return (
        f"A repeat has {fresh} and {one} ({settings['tuner']}, {trials}, "
        f"at most {counted(settings['max_epochs'], 'epoch')}; search space {space['name']}, "
        f"fingerprint {space['fingerprint']}); the winner was then trained again "
        f"{counted(settings['confirm'], 'time')}. Each optimizer had {repeats}."
    )


def _range(numbers: Iterable[int], noun: str) -> str:
    """ "5 repeats", "5 to 12 repeats"."""
    found = sorted(set(numbers))
    start = f"{found[0]} to " if len(found) > 1 else ""
    return start + counted(found[-1], noun)


def _per_repeat(trials: int, searches: int) -> int:
    return round(trials / max(searches, 1))


def _own_code(meta: StudyMeta) -> Iterable[str]:
    for name, own in meta.code.items():
        yield f"{name} is the class {own['class']} of {own['file']} (sha256 {own['digest'][:12]})."


def _judged(meta: StudyMeta, answer: Answer) -> str:
    return (
        f"The measure is the cross-fitted validation {meta.metric_words}, paired over repeats. An "
        f"optimizer is good enough if it is at most {points(answer.margin)} points behind the "
        "best. The bounds are simultaneous, with "
        "95 % confidence over all optimizers and looks (multiple comparisons with the best, Hsu "
        f"1984; variances moderated, Smyth 2004; new {meta.noun}s after Nadeau and Bengio 2003). "
        + _looks(answer)
    )


def _looks(answer: Answer) -> str:
    at = [str(look.repeats) for look in answer.looks]
    if len(at) == 1:
        return f"There was one look, at {at[0]} repeats."
    return f"Looks at {join(at)} repeats share the error rate; {answer.looked} of them used."


def _verdicts(meta: StudyMeta, answer: Answer) -> str:
    parts = [_verdict(one) for verdict in Verdict for one in answer.of(verdict)]
    return (
        "Verdicts, with the points that each may be behind the best at most, on these "
        f"{meta.noun}s and "
        f"on new ones of the same kind (-: no bound): {'; '.join(parts)}."
    )


def _verdict(one: Judged) -> str:
    bounds = (one.at_most_behind, one.at_most_behind_new_images)
    words = ["-" if bound is None else points(bound) for bound in bounds]
    return f"{one.optimizer} {one.verdict} ({words[0]}, {words[1]})"
