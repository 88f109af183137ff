"""The protocol on features that need no images: two blobs a class, some noise."""

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_meta

from study.data.examples import Examples
from study.data.rows.row_room import feature_rows
from study.records.outcomes import search_winner
from study.records.trial_record import Phase, TrialRecord, TrialStatus, cross_fitted
from study.search.budget import budget_of, plan_search, promotions
from study.search.command_line import parse, resolve_options
from study.search.options import Options
from study.search.protocol import StudyProtocol
from study.search.runner import Runner, status_of
from study.search.tasks import Data, make_splits
from study.space.search_space import SearchSpace, load_space
from study.training.population import LocalTrainer
from study.training.runs import HeadResult, HeadRun, TrainingRules, TrainingTable
from study.verdicts.answer import Verdict
from study.verdicts.judge import answer_of
from study.verdicts.looks import planned_looks

N, CLASSES = 60, 3
HEAD = "[head]\ndense_width = 16\nbatch_norm = false\n"
RATE = 'class = "SGD"\nlearning_rate = {min = 1e-3, max = 1.0, scale = "log"}\n'


def read(tmp_path: Path, text: str) -> SearchSpace:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return load_space(str(path))


def options(*arguments: str) -> Options:
    small = ["--data", "blobs", "--max-epochs", "4", "--repeats", "1", "--confirm", "1"]
    return resolve_options(parse([*small, *arguments]), {}, "space")


def study(
    space: SearchSpace,
    chosen: Options,
    known: Iterable[TrialRecord] = (),
    saved: list[TrialRecord] | None = None,
    *,
    classes: int = CLASSES,
    scale: float = 1.0,
    busy: int | None = None,
) -> tuple[StudyProtocol, list[TrialRecord]]:
    """Run all phases; the protocol and the records in the order they were `saved`.

    Features are `scale` times as large as they should be; so many populations are a `busy` device.
    """
    saved = [] if saved is None else saved
    rng = np.random.default_rng(3)
    labels = np.arange(N, dtype=np.int32) % classes
    centres = rng.normal(size=(classes, 8))
    features = scale * (centres[labels] + rng.normal(scale=0.8, size=(N, 8))).astype(np.float32)
    names = ("a", "b", "c")[:classes]
    digests = tuple(f"{row:064d}" for row in range(N))
    images = Examples(source=Path("blobs"), labels=labels, class_names=names, digests=digests)
    data = Data(features, labels, classes, make_splits(images, chosen))
    population = LocalTrainer(data.table, TrainingRules(chosen.max_epochs), size=4)
    population.busy = busy or population.busy
    promoted = promotions(chosen.tuner, chosen.max_epochs, chosen.factor)
    runner = Runner(data, population, promoted, known, saved.extend)
    looks = list(planned_looks(chosen.repeats, chosen.most_repeats))
    settings = chosen.settings()
    meta = make_meta(list(space.optimizers), list(names), settings=settings, looks=looks)
    protocol = StudyProtocol(chosen, space, runner, meta)
    protocol.run()
    return protocol, saved


def comparable(records: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    return {record.trial_id: replace(record, seconds=0.0) for record in records}


def test_no_thread_is_left_once_a_study_has_ended(tmp_path: Path) -> None:
    text = HEAD + '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.1]}\n'
    study(read(tmp_path, text), options("--tuner", "grid"))
    assert not [one.name for one in threading.enumerate() if one.name.startswith("judge")]


def test_a_diverging_trial_is_data_it_never_wins_and_never_stops_the_study(tmp_path: Path) -> None:
    text = HEAD + '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.1, 1e30]}\n'
    _, saved = study(read(tmp_path, text), options("--tuner", "grid"))
    search = {r.hyperparameters["learning_rate"]: r for r in saved if r.phase == Phase.SEARCH}
    status_of = search[1e30]
    assert status_of.status == TrialStatus.DIVERGED
    assert "at epoch 1" in status_of.message and len(status_of.loss) == 4
    assert search[0.1].status == TrialStatus.COMPLETED
    (confirmed,) = [r for r in saved if r.phase == Phase.CONFIRM]
    assert confirmed.hyperparameters["learning_rate"] == 0.1
    assert confirmed.test_accuracy is not None


def test_diverging_trials_cost_hyperband_no_promotion(tmp_path: Path) -> None:
    text = HEAD + (
        '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {min = 1e20, max = 1e30, scale = "log"}\n'
    )
    protocol, saved = study(read(tmp_path, text), options("--tuner", "hyperband"))
    search = [r for r in saved if r.phase == Phase.SEARCH]
    assert all(r.status == TrialStatus.DIVERGED for r in search)
    assert len(search) == plan_search(protocol.space, "sgd", budget_of(protocol.options))[1]
    assert not [r for r in saved if r.phase == Phase.CONFIRM]  # nothing to confirm, no crash


def test_the_same_seed_gives_the_same_records_and_another_seed_others(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    first, again, other = (
        comparable(study(space, options("--seed", seed))[1]) for seed in ("5", "5", "6")
    )
    assert first == again
    assert not set(map(str, first.values())) & set(map(str, other.values()))


def test_records_that_exist_are_not_trained_again_and_missing_ones_are_the_same(
    tmp_path: Path,
) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    _, undisturbed = study(space, options())
    for kept in (1, len(undisturbed) // 2, len(undisturbed) - 1):
        _, saved = study(space, options(), undisturbed[:kept])
        assert len(saved) == len(undisturbed) - kept
        assert comparable(saved).items() <= comparable(undisturbed).items()


def test_a_promoted_trial_has_one_unbroken_curve(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + '[optimizers.adam]\nclass = "Adam"\n' + RATE.split("\n")[1])
    _, saved = study(space, options())
    records = {r.trial_id: r for r in saved}
    promoted = [r for r in saved if r.continues]
    assert promoted
    for record in promoted:
        before = records[record.continues or ""]
        assert len(record.loss) == record.epochs > before.epochs == record.initial_epoch
        assert record.loss[: before.epochs] == before.loss
        assert (record.seed, record.split) == (before.seed, before.split)


def test_a_joint_search_confirms_every_optimizer_that_it_tried(tmp_path: Path) -> None:
    text = HEAD + "[optimizers.a]\n" + RATE + "[optimizers.b]\n" + RATE
    chosen = options("--tuner", "random", "--trials", "8", "--allocation", "joint")
    _, saved = study(read(tmp_path, text), chosen)
    search = [r for r in saved if r.phase == Phase.SEARCH]
    assert len(search) == 8 and all(r.trial_id.startswith("joint/") for r in search)
    tried = {r.optimizer for r in search}
    assert {r.optimizer for r in saved if r.phase == Phase.CONFIRM} == tried == {"a", "b"}


def test_a_time_limit_ends_the_search_and_what_was_found_is_confirmed(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    short, saved = study(space, options("--time-limit", "0.0001"))
    assert "time limit" in short.stopped
    assert not [r for r in saved if r.phase == Phase.SEARCH and r.rung]
    whole, more = study(space, options(), saved)
    assert not whole.stopped
    assert comparable([*saved, *more]).keys() >= comparable(study(space, options())[1]).keys()


def test_a_time_limit_shorter_than_what_is_recorded_confirms_what_there_is(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    for seed in "123456789":
        given = ("--repeats", "2", "--seed", seed)
        searched = [r for r in study(space, options(*given))[1] if r.phase is Phase.SEARCH]
        winner = search_winner(r for r in searched if r.repeat == 1)
        if winner and winner.rung:  # of a later wave, which is not proposed again
            break
    lost = next(r.trial_id for r in searched if r.repeat == 0)
    some = [record for record in searched if record.trial_id != lost]
    again, _ = study(space, options(*given, "--time-limit", "0.0001"), some)
    assert "time limit" in again.stopped
    confirmed = [record for record in again.records() if record.phase is Phase.CONFIRM]
    assert {record.repeat for record in confirmed} == {0, 1}
    assert all(again.task_of(record).config.optimizer == "sgd" for record in confirmed)


@pytest.mark.parametrize("broken", [[2], [6], [3, 5], range(6, 1000)])
def test_a_bug_of_our_own_is_no_bad_trial_it_stops_the_study_with_everything_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Sequence[int]
) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    calls = itertools.count(1)  # several threads judge
    judged: list[int] = []

    def breaks(
        curves: dict[str, list[float]], n_classes: int, *, plain: bool
    ) -> tuple[TrialStatus, str]:
        if next(calls) in broken:
            raise ZeroDivisionError
        status = status_of(curves, n_classes, plain=plain)
        judged.append(1)
        return status

    saved: list[TrialRecord] = []
    with monkeypatch.context() as patched:
        patched.setattr("study.search.runner.status_of", breaks)
        with pytest.raises(ZeroDivisionError):
            study(space, options(), saved=saved)
    assert len(saved) == len(judged) > 0
    assert not [r for r in saved if r.status == TrialStatus.FAILED]
    _, rest = study(space, options(), saved)
    assert not {r.trial_id for r in saved} & {r.trial_id for r in rest}  # none is trained again


def test_what_had_ended_when_the_user_interrupts_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    ended: list[int] = []
    train = LocalTrainer.train

    def interrupted(
        population: LocalTrainer, runs: list[HeadRun]
    ) -> Iterator[list[tuple[int, HeadResult]]]:
        with contextlib.closing(train(population, runs)) as results:  # type: ignore[type-var]
            first = next(results)
            ended.append(len(first))
            yield first
        raise KeyboardInterrupt  # while the results are being judged

    saved: list[TrialRecord] = []
    with monkeypatch.context() as patched:
        patched.setattr(LocalTrainer, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study(space, options(), saved=saved)
    assert len(saved) == sum(ended) > 0


def test_confirmation_runs_of_a_winner_that_was_replaced_are_superseded(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    _, undisturbed = study(space, options())
    (confirmed,) = [r for r in undisturbed if r.phase == Phase.CONFIRM]
    stale = replace(confirmed, trial_id="sgd/0/confirm/9999-0")
    protocol, _ = study(space, options(), [*undisturbed, stale])
    assert protocol.superseded() == {stale.trial_id}


def test_normalized_features_are_normalized_in_the_test_too(tmp_path: Path) -> None:
    text = HEAD + "normalize = true\n[optimizers.sgd]\n" + RATE
    _, saved = study(read(tmp_path, text), options("--max-epochs", "9"))
    (confirmed,) = [r for r in saved if r.phase == Phase.CONFIRM]
    assert confirmed.test_accuracy is not None
    assert confirmed.test_accuracy > 0.6  # chance is a third


@pytest.mark.parametrize(
    ("loss", "val_loss", "val_accuracy", "status"),
    [
        ([1.0, 0.5], [1.0, 0.9], [0.4, 0.6], TrialStatus.COMPLETED),
        ([1.0, float("nan")], [1.0, 0.9], [0.4, 0.6], TrialStatus.DIVERGED),
        ([1.0, 0.5], [float("inf"), 0.9], [0.4, 0.6], TrialStatus.DIVERGED),
        ([50.0, 90.0], [50.0, 90.0], [0.1, 0.1], TrialStatus.DIVERGED),
        ([50.0, 90.0], [50.0, 90.0], [0.1, 0.9], TrialStatus.COMPLETED),  # wild but right
    ],
)
def test_a_run_is_judged_by_its_losses(
    loss: list[float], val_loss: list[float], val_accuracy: list[float], status: TrialStatus
) -> None:
    curves = {"loss": loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
    judged, message = status_of(curves, 10)
    assert judged == status
    assert bool(message) == (status == TrialStatus.DIVERGED)


@pytest.mark.parametrize(
    ("loss", "val_loss", "val_accuracy", "plain", "weighed"),
    [
        # 95 of 100 rows are of one of two classes and all are called so, surely and wrongly for 5:
        # the plain loss is 0.8, the weighted one 8
        (8.0, 0.8, 0.95, TrialStatus.DIVERGED, TrialStatus.COMPLETED),
        # right and very sure, with smoothed labels
        (9.0, 9.5, 0.97, TrialStatus.DIVERGED, TrialStatus.COMPLETED),
        # the same probabilities for every image, whatever the labels: ln 2
        (0.6931, 0.6931, 0.5, TrialStatus.COMPLETED, TrialStatus.COMPLETED),
        (90.0, 80.0, 0.5, TrialStatus.DIVERGED, TrialStatus.DIVERGED),
        (float("nan"), 0.7, 0.97, TrialStatus.DIVERGED, TrialStatus.DIVERGED),
    ],
)
def test_a_weighted_or_smoothed_loss_is_not_called_absurd_where_the_plain_one_would_not_be(
    loss: float,
    val_loss: float,
    val_accuracy: float,
    plain: TrialStatus,
    weighed: TrialStatus,
) -> None:
    curves = {"loss": [loss], "val_loss": [val_loss], "val_accuracy": [val_accuracy]}
    assert status_of(curves, 2)[0] == plain
    assert status_of(curves, 2, plain=False)[0] == weighed


def test_a_head_that_is_right_and_pays_for_being_sure_has_not_diverged(tmp_path: Path) -> None:
    text = (
        HEAD + 'dropout = 0.0\nlabel_smoothing = 0.3\n[optimizers.sgd]\nclass = "SGD"\n'
        "learning_rate = {choices = [1e-4, 3e-4, 1e-3, 3e-3]}\n"
    )
    space = read(tmp_path, text)
    _, saved = study(space, options("--tuner", "grid"), classes=2, scale=300.0)
    right = [r for r in saved if r.loss[-1] > 10 * np.log(2) and r.val_accuracy[-1] > 0.75]
    assert right and all(r.status == TrialStatus.COMPLETED for r in right)


LOSS = (
    'class_weight = {choices = ["none", "balanced"]}\nlabel_smoothing = {choices = [0, 0.1, 0.3]}\n'
)


def test_the_loss_is_tuned_like_any_other_hyperparameter_and_resumed(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + LOSS + '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = 0.1\n')
    chosen = options("--tuner", "grid")
    _, whole = study(space, chosen)
    search = [r for r in whole if r.phase == Phase.SEARCH]
    tried = {(r.hyperparameters["class_weight"], r.hyperparameters["label_smoothing"]): r
             for r in search}  # fmt: skip
    assert len(search) == len(tried) == 6
    least = 0.639  # -0.8 ln 0.8 - 0.2 ln 0.1: nobody has less with a third of 0.3 everywhere
    assert all((min(r.val_loss) > least) == (key[1] == 0.3) for key, r in tried.items())
    (untuned,) = [r for r in whole if r.phase == Phase.DEFAULT]
    assert untuned.hyperparameters["class_weight"] == "none"
    assert untuned.hyperparameters["label_smoothing"] == 0.0
    for kept in (whole[:3], whole[:-1]):
        _, rest = study(space, chosen, kept)
        assert comparable([*kept, *rest]) == comparable(whole)
        assert len(kept) + len(rest) == len(whole)


def test_the_test_loss_is_plain_whatever_the_head_was_trained_with(tmp_path: Path) -> None:
    text = HEAD + "label_smoothing = 0.9\n[optimizers.sgd]\n" + RATE
    chosen = options("--tuner", "random", "--trials", "3", "--max-epochs", "9")
    _, saved = study(read(tmp_path, text), chosen)
    (confirmed,) = [r for r in saved if r.phase == Phase.CONFIRM]
    least = 1.0888  # of a smoothed loss: the entropy of 0.4, 0.3, 0.3
    assert min(confirmed.val_loss) > least > 1.05 > (confirmed.test_loss or 9)


def test_rows_mapped_from_the_disk_give_the_same_curves(tmp_path: Path) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    rng = np.random.default_rng(3)
    labels = np.arange(N, dtype=np.int32) % CLASSES
    mapped = feature_rows(N, 512, tmp_path, memory=1)
    mapped[:] = rng.normal(size=mapped.shape)
    rows = rng.permutation(N).astype(np.int32)
    run = HeadRun(space.default("sgd"), rows[:40], rows[40:], seed=1, epochs=2)
    curves = []
    for features in (mapped, np.array(mapped)):
        table = TrainingTable(features, labels, CLASSES)
        population = LocalTrainer(table, TrainingRules(max_epochs=2), size=2)
        ((_, result),) = next(population.train([run]))
        curves.append(result.metrics.loss.tolist() + result.metrics.val_accuracy.tolist())
    assert curves[0] == curves[1]


# ---- looks and the race ----

NEAR = 'class = "SGD"\nlearning_rate = {choices = [0.3, 0.4]}\n'
FAR = 'class = "SGD"\nlearning_rate = {choices = [1e-6, 2e-6]}\n'
THREE = HEAD + f"[optimizers.one]\n{NEAR}[optimizers.two]\n{NEAR.replace('0.4', '0.35')}"
THREE += f"[optimizers.far]\n{FAR}"
AUTO = ("--repeats", "auto", "--most-repeats", "8", "--tuner", "grid", "--confirm", "2")


def repeats_of(records: Iterable[TrialRecord]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for record in records:
        if record.phase == Phase.CONFIRM:
            found.setdefault(record.optimizer, set()).add(record.repeat)
    return found


def test_a_study_stops_when_the_answer_is_known(tmp_path: Path) -> None:
    protocol, saved = study(read(tmp_path, THREE), options(*AUTO, "--margin", "90"))
    assert set(map(len, repeats_of(saved).values())) == {5}
    assert answer_of(protocol.meta, saved).known


def test_an_excluded_optimizer_costs_nothing_more(tmp_path: Path) -> None:
    protocol, saved = study(read(tmp_path, THREE), options(*AUTO, "--margin", "0.001"))
    found = {name: len(repeats) for name, repeats in repeats_of(saved).items()}
    assert found == {"one": 8, "two": 8, "far": 5}
    answer = answer_of(protocol.meta, saved)
    assert answer.about("far").verdict is Verdict.EXCLUDED and answer.looked == 2
    assert not [r for r in saved if r.optimizer == "far" and r.repeat >= 5]


def test_a_study_killed_in_any_round_ends_with_the_same_records(tmp_path: Path) -> None:
    space, chosen = read(tmp_path, THREE), options(*AUTO, "--margin", "0.001")
    _, undisturbed = study(space, chosen)
    for kept in (7, len(undisturbed) * 3 // 4, len(undisturbed) - 3):
        _, rest = study(space, chosen, undisturbed[:kept])
        assert len(rest) == len(undisturbed) - kept
        assert comparable([*undisturbed[:kept], *rest]) == comparable(undisturbed)


def test_a_larger_margin_answers_from_the_records_and_a_smaller_one_goes_on(
    tmp_path: Path,
) -> None:
    space = read(tmp_path, THREE)
    _, first = study(space, options(*AUTO, "--margin", "90"))
    _, more = study(space, options(*AUTO, "--margin", "0.001"), first)
    assert more and comparable([*first, *more]) == comparable(
        study(space, options(*AUTO, "--margin", "0.001"))[1]
    )
    protocol, nothing = study(space, options(*AUTO, "--margin", "90"), [*first, *more])
    assert nothing == [] and protocol.superseded() == set()
    assert answer_of(protocol.meta, protocol.records()).known


def test_a_study_that_is_asked_more_goes_on_and_one_that_is_asked_less_has_its_answer(
    tmp_path: Path,
) -> None:
    space, margin = read(tmp_path, THREE), ("--margin", "0.001")
    _, first = study(space, options(*AUTO, *margin, "--ask", "far"))
    assert set(map(len, repeats_of(first).values())) == {5}  # it is excluded
    protocol, more = study(space, options(*AUTO, *margin, "--ask", "all"), first)
    whole = study(space, options(*AUTO, *margin, "--ask", "all"))[1]
    assert more and comparable([*first, *more]) == comparable(whole)
    assert set(map(len, repeats_of(protocol.records()).values())) == {8, 5}
    protocol, nothing = study(space, options(*AUTO, *margin, "--ask", "far"), [*first, *more])
    assert nothing == [] and answer_of(protocol.meta, protocol.records()).known


def test_every_rerun_has_a_split_of_its_own_that_all_optimizers_share(tmp_path: Path) -> None:
    _, saved = study(read(tmp_path, THREE), options("--tuner", "grid", "--confirm", "3"))
    splits = {
        name: [r.split for r in sorted(saved, key=lambda r: r.trial_id)
               if r.optimizer == name and r.phase == Phase.CONFIRM]
        for name in ("one", "two", "far")
    }  # fmt: skip
    assert splits["one"] == splits["two"] == splits["far"] and len(set(splits["one"])) == 3
    searched = {r.split for r in saved if r.phase == Phase.SEARCH}
    assert not searched & set(splits["one"])


def test_reruns_keep_the_hits_of_both_halves_and_trials_do_not(tmp_path: Path) -> None:
    protocol, saved = study(read(tmp_path, THREE), options("--tuner", "grid"))
    rows = len(protocol.runner.data.splits("confirm", 0).validation)
    for record in saved:
        if record.phase == Phase.SEARCH:
            assert not record.val_hits_a and record.cross_fitted_accuracy is None
            continue
        hits = np.add(record.val_hits_a, record.val_hits_b)
        assert record.val_accuracy == pytest.approx(hits / rows, abs=1e-6)
        assert record.cross_fitted_accuracy == cross_fitted(
            record.val_hits_a, record.val_hits_b, rows
        )


def test_what_a_search_had_found_early_is_rerun_whole_in_the_first_looks_repeats(
    tmp_path: Path,
) -> None:
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE + "[optimizers.two]\n" + RATE)
    chosen = options(*AUTO[:4], "--tuner", "random", "--trials", "8", "--margin", "0.001")
    _, saved = study(space, chosen)
    early = [r for r in saved if r.phase == Phase.BUDGET]
    assert early and {r.repeat for r in early} <= set(range(5))
    trials = {r.trial_id: r for r in saved if r.phase == Phase.SEARCH}
    for record in early:
        found = trials[f"{record.optimizer}/{record.repeat}/search/{record.number}"]
        assert found.hyperparameters == record.hyperparameters
        assert int(found.number) < 8 * (record.budget or 0)  # paid for by then
        assert record.epochs == chosen.max_epochs
        owner = (record.optimizer, record.repeat, Phase.CONFIRM)
        winners = [r for r in saved if (r.optimizer, r.repeat, r.phase) == owner]
        assert record.split == winners[0].split and record.seed == winners[0].seed
        assert all(r.hyperparameters != record.hyperparameters for r in winners)


def test_a_search_that_was_cut_short_reruns_no_part_of_its_budget(tmp_path: Path) -> None:
    """Its parts would be of what it had spent, and other ones once it is continued."""
    space = read(tmp_path, HEAD + "[optimizers.sgd]\n" + RATE)
    _, cut = study(space, options("--max-epochs", "9", "--time-limit", "0.0001"))
    assert not [r for r in cut if r.phase == Phase.BUDGET]
    _, more = study(space, options("--max-epochs", "9"), cut)
    whole = comparable(study(space, options("--max-epochs", "9"))[1])
    early = {r.trial_id for r in whole.values() if r.phase == Phase.BUDGET}
    assert (
        early
        and comparable(more).items()
        >= {name: record for name, record in whole.items() if name in early}.items()
    )


# ---- searches under way ----

TWO = HEAD + "[optimizers.one]\n" + RATE + "[optimizers.two]\n" + RATE
ONE_AT_A_TIME, ALL = 1, 10**9


def searches_at_once(saved: Iterable[TrialRecord]) -> int:
    """The most that had begun and not yet ended."""
    keys = [(r.search, r.repeat) for r in saved if r.phase == Phase.SEARCH]
    last = {key: place for place, key in enumerate(keys)}
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    return max(sum(first[k] <= place <= last[k] for k in last) for place in range(len(keys)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tuner", "hyperband"),
        ("--tuner", "hyperband", "--allocation", "joint"),
        ("--tuner", "random", "--trials", "5"),
        ("--tuner", "bayesian", "--trials", "10"),
        ("--tuner", "grid", "--trials", "4"),
    ],
)
def test_records_are_the_same_however_many_searches_are_under_way(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    space, chosen = read(tmp_path, TWO), options("--repeats", "3", *arguments)
    _, whole = study(space, chosen, busy=ALL)
    count = 3 if "joint" in arguments else 6
    assert searches_at_once(whole) > 1
    for busy, most in ((ONE_AT_A_TIME, 1), (3, count)):
        _, saved = study(space, chosen, busy=busy)
        assert searches_at_once(saved) <= most
        assert comparable(saved) == comparable(whole)


def test_a_study_killed_with_one_search_under_way_goes_on_with_all_and_ends_the_same(
    tmp_path: Path,
) -> None:
    space, chosen = read(tmp_path, TWO), options("--repeats", "2", "--tuner", "hyperband")
    _, undisturbed = study(space, chosen, busy=ONE_AT_A_TIME)
    for kept in (3, len(undisturbed) // 2, len(undisturbed) - 3):
        _, rest = study(space, chosen, undisturbed[:kept], busy=ALL)
        assert len(rest) == len(undisturbed) - kept
        assert comparable([*undisturbed[:kept], *rest]) == comparable(undisturbed)


def test_under_a_time_limit_all_optimizers_of_a_repeat_are_searched_together(
    tmp_path: Path,
) -> None:
    space, small = read(tmp_path, TWO), ("--repeats", "2", "--tuner", "hyperband")
    begun = []
    for limit in ((), ("--time-limit", "60")):
        _, saved = study(space, options(*small, *limit), busy=ONE_AT_A_TIME)
        begun.append(list(dict.fromkeys((r.search, r.repeat) for r in saved if r.search)))
    unlimited, limited = begun
    assert unlimited == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
    assert set(limited[:2]) == {("one", 0), ("two", 0)}
