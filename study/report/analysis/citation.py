"""A study in words for a paper: how it was made and what it says, in paragraphs to paste."""

from collections.abc import Iterable, Sequence

from study.common.bases import is_file, short_name
from study.common.text import at_most, counted, join, points
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.ranking import Row
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.looks import FEWEST_REPEATS

REFERENCES = (
    "Bayle, P., Bayle, A., Janson, L. and Mackey, L. (2020). Cross-validation confidence intervals "
    "for test error. Advances in Neural Information Processing Systems 33.",
    "Dunnett, C. W. (1955). A multiple comparison procedure for comparing several treatments with "
    "a control. Journal of the American Statistical Association 50(272).",
    "Hsu, J. C. (1984). Constrained simultaneous confidence intervals for multiple comparisons "
    "with the best. The Annals of Statistics 12(3).",
    "Smyth, G. K. (2004). Linear models and empirical Bayes methods for assessing differential "
    "expression in microarray experiments. Statistical Applications in Genetics and Molecular "
    "Biology 3(1).",
)


def citation(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> tuple[str, ...]:
    """Return the paragraphs: data and budget, verdicts, references; () without a confirmed one."""
    if not any(row.basis is Phase.CONFIRM for row in rows):
        return ()
    made = " ".join((_data(meta), _budget(meta, rows), *_own_code(meta)))
    if not answer.looked or len(answer.optimizers) < 2:
        least = f"at least two optimizers and {FEWEST_REPEATS} repeats"
        return made, f"Nothing is concluded: that takes {least}."
    return made, f"{_method(meta, answer)} {_verdicts(meta, answer)}", *REFERENCES


def _data(meta: StudyMeta) -> str:
    sizes, versions = meta.split_sizes, meta.versions[-1]
    programs = join([f"{name} {versions[name]}" for name in ("tensorflow", "keras", "keras-tuner")])
    return (
        f"{counted(len(meta.optimizers), 'optimizer')} were compared with optimizer-study "
        f"({programs}) for training a dense head on {_features(meta)}, on "
        f"{sum(meta.class_counts)} {meta.noun}s of {len(meta.class_names)} classes: "
        f"{sizes['train']} for training, {sizes['validation']} for validation, {sizes['test']} "
        f"for testing.{_groups(meta)}{_weights(meta)}"
    )


def _groups(meta: StudyMeta) -> str:
    number, near = meta.data["groups"], sum(map(len, meta.data.get("near_copies", [])))
    if meta.one_split:
        return " The split was given with the data." if number or near else ""
    text = ""
    if number:
        text += f" They belong to {counted(number, 'group')}, none of which a split divides."
    if near:
        text += f" Near-duplicates ({near} {meta.noun}s) stayed in one part of every split."
    return text


def _weights(meta: StudyMeta) -> str:
    if not meta.sample_weight:
        return ""
    return f" Their sample weights count in the training loss, not where {meta.noun}s are judged."


def _features(meta: StudyMeta) -> str:
    if meta.noun == "row":
        return f"given features ({meta.data['file']}, {meta.data['features']} numbers per row)"
    size, views = meta.settings["image_size"], int(meta.settings["views"])
    text = f"the {meta.data['features']} pooled features of a frozen {_base(meta)} ({size} px)"
    if views > 1:
        text += f" of {views} views of each training image, one per epoch"
    return text


def _base(meta: StudyMeta) -> str:
    """Return the base and the origin of its weights."""
    name, weights = short_name(meta.base), meta.settings["weights"]
    if is_file(meta.base):
        return f"network of our own ({name}, fingerprint {meta.weights['digest'][:12]})"
    if weights == "auto":
        return f"ImageNet {name}"
    if weights == "random":
        return f"{name} with random weights"
    return f"{name} with weights of {short_name(weights)}"


def _budget(meta: StudyMeta, rows: Sequence[Row]) -> str:
    """Return the budget of a search; the numbers are those of the records."""
    settings, space = meta.settings, meta.space
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    trials = _range((round(row.trials / max(row.searches, 1)) for row in confirmed), "trial")
    repeats = _range((len(row.by_repeat) for row in confirmed), "repeat")
    search = "one search for each optimizer, all with the same budget"
    if settings["allocation"] == "joint":
        search = "one search over all optimizers"
    fresh = "fresh splits and seeds"
    if meta.one_split:
        fresh = "the same split as all others, fresh seeds"
    return (
        f"Each repeat had {fresh} and {search} ({settings['tuner']}, {trials}, "
        f"at most {counted(settings['max_epochs'], 'epoch')}; search space {space['name']}, "
        f"fingerprint {space['fingerprint']}); the winner was then trained again "
        f"{counted(settings['confirm'], 'time')}. Each optimizer had {repeats}."
    )


def _range(numbers: Iterable[int], noun: str) -> str:
    """Return "5 repeats" or "5 to 12 repeats"."""
    found = sorted(set(numbers))
    start = f"{found[0]} to " if len(found) > 1 else ""
    return start + counted(found[-1], noun)


def _own_code(meta: StudyMeta) -> Iterable[str]:
    for name, own in meta.code.items():
        yield f"{name} is the class {own['class']} of {own['file']} (sha256 {own['digest'][:12]})."


def _method(meta: StudyMeta, answer: Answer) -> str:
    return (
        f"The measure is the cross-fitted validation {meta.metric_words}, paired over repeats. An "
        f"optimizer is good enough if it is at most {points(answer.margin)} percentage points "
        "behind the best and none of its confirmation runs diverged. The bounds are simultaneous, "
        "with 95 % confidence over all optimizers and looks (multiple comparisons with the best, "
        "Hsu 1984; all rivals at once, Dunnett 1955; variances moderated, Smyth 2004; new "
        f"{meta.noun}s by the influence of each {meta.noun}, after Bayle et al. 2020). "
        f"{_looks(answer)}"
    )


def _looks(answer: Answer) -> str:
    at = [str(look.repeats) for look in answer.looks]
    if len(at) == 1:
        return f"There was one planned look (interim analysis), at {at[0]} repeats."
    used = f"{answer.looked} of them {'was' if answer.looked == 1 else 'were'} used"
    return f"Planned looks (interim analyses) at {join(at)} repeats share the error rate; {used}."


def _verdicts(meta: StudyMeta, answer: Answer) -> str:
    found = [_verdict(one) for verdict in Verdict for one in answer.of(verdict)]
    return (
        "Verdicts, with the points that each optimizer is at most behind the best, on these "
        f"{meta.noun}s and on new ones of the same kind (-: no bound): {'; '.join(found)}."
    )


def _verdict(one: Judged) -> str:
    bounds = (one.at_most_behind, one.at_most_behind_new_images)
    here, new = ("-" if bound is None else at_most(bound) for bound in bounds)
    return f"{one.optimizer} {one.words} ({here}, {new})"
