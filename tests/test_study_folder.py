"""A study's folder: one process at a time, resumed or refused, never mixed, never more deleted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic import VERSIONS, make_meta, make_records, write_study

from study.common.command import in_flags
from study.common.errors import UserError
from study.records.study_files import DAMAGED_FILE, PREDICTED_FILE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import StudyMeta, load_meta
from study.records.trial_record import Phase
from study.records.trials_file import append_trials, load_trials
from study.report.write import write_report
from study.search.command_line import parse, resolve_options
from study.search.study_folder import clear, locked, resume, with_predictions
from study.verdicts.looks import planned_looks


def meta(*argv: str, **changes: Any) -> StudyMeta:
    """What a search with these arguments writes."""
    options = resolve_options(parse(argv), {}, "default")
    planned = list(planned_looks(options.repeats, options.most_repeats))
    made = make_meta(["adam", "sgd"], ["a", "b"], settings=options.settings(), looks=planned)
    space = {**made.space, "fingerprint": "f" * 16}
    return replace(made, **({"space": space, "name": options.name} | changes))


def refusal(folder: Path, new: StudyMeta) -> str:
    with pytest.raises(UserError) as caught:
        resume(folder, new)
    sentence = in_flags(str(caught.value), parse([]))  # as the command prints it
    assert "--name" in sentence
    return sentence


def test_a_new_study_begins_without_records(tmp_path: Path):
    begun, records = resume(tmp_path, meta())
    assert records == [] and load_meta(tmp_path) == begun == meta()


def test_the_same_study_is_continued_with_its_birthday_and_population(tmp_path: Path):
    old = meta(created="2020-01-01T00:00:00+00:00")
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    device = {**old.device, "population": 8}
    resume(folder.parent / "x", old)  # another study beside it does not matter
    (folder / STUDY_FILE).unlink()
    (folder / TRIALS_FILE).rename(folder / "kept")
    resume(folder, replace(old, device=device, seconds={"search": 5.0}))
    (folder / "kept").rename(folder / TRIALS_FILE)
    continued, records = resume(folder, meta())
    assert continued.created == old.created
    assert continued.device["population"] == 8
    assert continued.seconds == {"search": 5.0}
    assert len(records) == len(load_trials(folder)) > 0


@pytest.mark.parametrize(
    ("before", "now", "said"), [("a", "b", True), ("a", "a", False), (None, "b", False)]
)
def test_a_study_that_goes_on_with_other_rounding_says_so(
    before: str | None, now: str, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    device = meta().device
    first = meta(device={**device, "rounding": before} if before else device)
    second = meta(device={**device, "rounding": now})
    resume(tmp_path, first)
    assert resume(tmp_path, second)[0].device["rounding"] == (before or now)
    assert "rounds" not in capsys.readouterr().err  # nothing was trained yet
    append_trials(tmp_path, make_records(["adam"], repeats=1, confirm=1, trials=3))
    resume(tmp_path, second)
    warning = "warning: this machine rounds differently from the one that made the earlier runs"
    assert (warning in capsys.readouterr().err) == said


def test_confirmation_runs_are_repeated_if_it_is_lost_what_they_predicted(tmp_path: Path, capsys):
    folder = write_study(tmp_path, ["adam", "sgd"], repeats=2, confirm=2, trials=3)
    records = load_trials(folder)
    assert with_predictions(folder, records)[1] == records and not capsys.readouterr().err
    content = (folder / PREDICTED_FILE).read_bytes()
    (folder / PREDICTED_FILE).write_bytes(content[:-9])
    predicted, kept = with_predictions(folder, records)
    (lost,) = (record for record in records if record not in kept)
    assert lost.phase is Phase.CONFIRM and len(predicted.off) == 7
    assert "lacks what 1 confirmation run predicted; it will be repeated" in capsys.readouterr().err
    assert (folder / PREDICTED_FILE).read_bytes().endswith(b"\n")
    (folder / PREDICTED_FILE).unlink()
    kept = with_predictions(folder, records)[1]
    assert kept == [record for record in records if record.phase is not Phase.CONFIRM]


@pytest.mark.parametrize(
    ("argv", "listed"),
    [
        (["--seed", "2"], "--seed 1 -> 2"),
        (["--tuner", "random"], "--tuner hyperband -> random"),
        (["--max-epochs", "60"], "--max-epochs 30 -> 60"),
        (["--factor", "4"], "--factor 3 -> 4"),
        (["--allocation", "joint"], "--allocation equal -> joint"),
        (["--image-size", "96"], "--image-size 112 -> 96"),
        (["--preprocess", "rescale"], "--preprocess caffe -> rescale"),
        (["--validation-split", "0.3"], "--validation-split 0.4 -> 0.3"),
        (["--test-split", "0.2"], "--test-split 0.3 -> 0.2"),
    ],
)
def test_other_settings_are_refused_with_what_differs(argv: list[str], listed: str, tmp_path: Path):
    resume(tmp_path, meta())
    assert f"has different settings: {listed};" in refusal(tmp_path, meta(*argv))


def test_every_difference_is_listed(tmp_path: Path):
    resume(tmp_path, meta())
    other = meta(
        "--seed", "2", "--space", "quick", "--weights", "random",
        space={"name": "quick", "fingerprint": "0" * 16, "table": {"head": {"dropout": 0.1}}},
        data={"fingerprint": "1" * 64},
        weights={"source": "random", "digest": "2" * 64},
        device={"kind": "gpu", "name": "some", "dtype": "bfloat16"},
    )  # fmt: skip
    sentence = refusal(tmp_path, other)
    for words in (
        "--seed 1 -> 2",
        "--weights auto -> random",
        "search space: head.dropout nothing -> 0.1",
        "search space: optimizers.adam.class 'Adam' -> nothing",
        "images abababababab -> 111111111111",
        "weights cdcdcdcdcdcd -> 222222222222",
        "device cpu -> gpu",
        "arithmetic float32 -> bfloat16",
    ):
        assert words in sentence


def with_space(names: list[str], **changed: Any) -> StudyMeta:
    """A study of these optimizers; `changed` is another table of adam."""
    tables = {
        name: {"class": name.title(), "learning_rate": {"min": 0.1, "max": 3.0}} for name in names
    }
    tables["adam"] |= changed
    space = {"name": "s", "fingerprint": str(tables), "table": {"optimizers": tables}}
    return meta(space=space, optimizers=names)


def test_an_optimizer_may_be_added_where_each_has_searches_of_its_own(tmp_path: Path):
    resume(tmp_path, with_space(["adam", "sgd"]))
    grown = resume(tmp_path, with_space(["adam", "lion", "sgd"]))[0]
    assert grown.optimizers == ["adam", "lion", "sgd"] == load_meta(tmp_path).optimizers
    assert "search space: optimizer lion is missing" in refusal(
        tmp_path, with_space(["adam", "sgd"])
    )
    joint = replace(grown, settings={**grown.settings, "allocation": "joint"})
    resume(tmp_path / "joint", joint)
    more = with_space(["adam", "lion", "sgd", "nadam"])
    more = replace(more, settings=joint.settings)
    assert "optimizer nadam is added to a joint search" in refusal(tmp_path / "joint", more)


def test_what_is_another_in_a_search_space_is_named_by_its_key(tmp_path: Path):
    resume(tmp_path, with_space(["adam", "sgd"]))
    other = with_space(
        ["adam", "sgd"], learning_rate={"min": 0.2, "max": 3.0, "scale": "log"}, amsgrad=True
    )
    sentence = refusal(tmp_path, other)
    for words in (
        "search space: optimizers.adam.amsgrad nothing -> True;",
        "search space: optimizers.adam.learning_rate.scale nothing -> 'log'",
        "search space: optimizers.adam.learning_rate.min 0.1 -> 0.2;",
    ):
        assert words in sentence
    assert "optimizers.sgd" not in sentence


def test_other_versions_are_kept_said_and_refused_where_they_compute_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def of(**versions: str) -> StudyMeta:
        begun = {"tensorflow": "2.20.0", "keras": "3.14.2", "numpy": "2.3.1"}
        return meta(versions=[VERSIONS | begun | versions])

    resume(tmp_path, of())
    assert resume(tmp_path, of())[0].versions == of().versions
    assert capsys.readouterr().err == ""
    later = resume(tmp_path, of(keras="3.14.3", numpy="2.4.0"))[0]
    assert later.versions == [*of().versions, *of(keras="3.14.3", numpy="2.4.0").versions]
    said = capsys.readouterr().err
    assert "made with other versions (keras 3.14.2 -> 3.14.3, numpy 2.3.1 -> 2.4.0)" in said
    assert "keras 3.14.3 -> 3.15.0;" in refusal(tmp_path, of(keras="3.15.0", numpy="2.4.0"))
    assert "tensorflow 2.20.0 -> 2.21.0;" in refusal(tmp_path, of(tensorflow="2.21.0"))


def test_longer_searches_go_on_from_the_shorter_ones_and_are_a_further_look(tmp_path: Path):
    folder = write_study(tmp_path, ["adam", "sgd"], repeats=6, confirm=3, trials=5)
    (folder / STUDY_FILE).unlink()
    (folder / TRIALS_FILE).rename(folder / "kept")
    given = ["--tuner", "random", "--confirm", "3", "--trials"]
    resume(folder, meta(*given, "5"))
    (folder / "kept").rename(folder / TRIALS_FILE)
    before = load_trials(folder)
    assert "--trials 5 -> 4 (trials of searches cannot be removed)" in refusal(
        folder, meta(*given, "4")
    )
    assert "--trials 5 -> 9 (trials of searches would begin differently" in refusal(
        folder, meta(*given, "9")
    )
    grown, known = resume(folder, meta(*given, "9"), longer=lambda trials: trials == 5)
    kept = {Phase.SEARCH, Phase.DEFAULT}
    assert known == load_trials(folder) == [r for r in before if r.phase in kept]
    # one of five looks was used: what the other four had is shared by those of longer searches
    assert looks(grown) == [(n, pytest.approx(0.04 / 5)) for n in (5, 8, 12, 18, 27)]
    again = resume(folder, meta(*given, "9"), longer=lambda trials: trials == 9)[0]
    assert looks(again) == looks(grown)


def test_edited_code_goes_on_only_before_its_first_run(tmp_path: Path):
    def of(digest: str) -> StudyMeta:
        facts = {"class": "Mine", "file": "mine.py", "digest": digest, "alone": ""}
        return meta(code={"adam": facts})

    folder = write_study(tmp_path, ["sgd"], repeats=1, confirm=1, trials=3)
    (folder / STUDY_FILE).unlink()
    (folder / TRIALS_FILE).rename(folder / "kept")
    resume(folder, of("a" * 64))
    (folder / "kept").rename(folder / TRIALS_FILE)
    assert resume(folder, of("b" * 64))[0].code["adam"]["digest"] == "b" * 64
    append_trials(folder, make_records(["adam"], repeats=1, confirm=1, trials=3)[:1])
    assert "code of adam in mine.py bbbbbbbbbbbb -> cccccccccccc" in refusal(folder, of("c" * 64))


def test_other_words_for_the_same_thing_are_no_difference(tmp_path: Path):
    """The same files by another path; the same weights from another source."""
    resume(tmp_path, meta())
    same = ["--space", "./default.toml", "--weights", "w.h5", "--data", "x", "--optimizers", "b,a"]
    faces = ["--image-size", "112", "--validation-split", "0.4", "--test-split", "0.3"]
    resume(tmp_path, meta(*same, *faces, name="default-hyperband"))


def test_a_study_keeps_the_padded_widths_that_it_began_with(tmp_path: Path) -> None:
    now = replace(meta(), device={**meta().device, "widths": [256, 512]})
    resume(tmp_path, replace(meta(), device={**meta().device, "widths": [512]}))
    continued, _ = resume(tmp_path, now)
    for found in (continued, load_meta(tmp_path)):
        assert found.device["widths"] == [512]


def test_the_size_of_the_populations_is_chosen_once(tmp_path: Path) -> None:
    resume(tmp_path, replace(meta(), device={**meta().device, "population": 8}))
    resume(tmp_path, meta("--population", "8"))
    with pytest.raises(UserError, match=r"`population` 8 -> 2;"):
        resume(tmp_path, meta("--population", "2"))


FIXED = ["--repeats", "5", "--confirm", "3"]


def looks(found: StudyMeta) -> list[tuple[int, float]]:
    return [(look.repeats, look.alpha) for look in found.looks]


def test_a_study_of_fixed_repeats_may_grow_and_every_growth_is_a_further_look(tmp_path: Path):
    resume(tmp_path, meta(*FIXED))
    grown = resume(tmp_path, meta("--repeats", "7", "--confirm", "3", "--time-limit", "3"))[0]
    assert grown.settings["repeats"] == 7 and looks(grown) == [(5, 0.025), (7, 0.0125)]
    more = resume(tmp_path, meta("--repeats", "7", "--confirm", "5"))[0]
    assert looks(more) == [(5, 0.025), (7, 0.0125), (7, 0.00625)]
    again = resume(tmp_path, meta("--repeats", "7", "--confirm", "5"))[0]
    assert looks(again) == looks(more)
    assert "--repeats 7 -> 5: repeats cannot be removed" in refusal(
        tmp_path, meta("--repeats", "5", "--confirm", "5")
    )
    assert "--confirm 5 -> 3: confirmation runs cannot be removed" in refusal(
        tmp_path, meta("--repeats", "7", "--confirm", "3")
    )


def test_a_study_of_fixed_repeats_may_go_on_until_the_answer_is_known(tmp_path: Path):
    resume(tmp_path, meta(*FIXED))
    auto = resume(tmp_path, meta("--confirm", "3"))[0]
    assert looks(auto)[:3] == [(5, 0.025), (8, 0.0125), (12, 0.00625)]
    assert looks(resume(tmp_path, meta("--confirm", "3"))[0]) == looks(auto)


@pytest.mark.parametrize(
    "argv", [["--repeats", "40"], ["--most-repeats", "40"], ["--confirm", "20"]]
)
def test_the_looks_of_a_study_that_stops_by_itself_are_fixed(argv: list[str], tmp_path: Path):
    resume(tmp_path, meta())
    sentence = refusal(tmp_path, meta(*argv))
    assert "were fixed at 5, 8, 12, 18, 27 repeats when it began" in sentence
    assert "--repeats auto and the same --most-repeats and --confirm" in sentence


def test_the_margin_may_be_changed(tmp_path: Path):
    resume(tmp_path, meta())
    for margin in ("5", "0.5"):
        assert resume(tmp_path, meta("--margin", margin))[0].settings["margin"] == float(margin)


def test_the_question_may_be_changed_but_only_to_one_about_its_optimizers(tmp_path: Path):
    for ask, asked in (("sgd, adam", ("sgd", "adam")), ("all", ("adam", "sgd")), ("best", ())):
        assert resume(tmp_path, meta("--ask", ask))[0].asked == asked
    resume(tmp_path, meta("--ask", "lion"))
    with pytest.raises(UserError, match="ask: 'lion' is not an optimizer of the study"):
        load_meta(tmp_path)


def deep(white: float) -> StudyMeta:
    """A study of deep grey images."""
    points = {"whole numbers": {"black": 0.0, "white": white, "images": 9}}
    old = meta()
    return replace(old, data={**old.data, "deep_grey": {"white_points": points, "doubts": []}})


def test_images_that_are_shown_otherwise_are_refused(tmp_path: Path):
    resume(tmp_path, deep(4095))
    resume(tmp_path, deep(4095))  # as it is, it goes on
    words = "white points of deep grey whole numbers 0 to 4095 -> whole numbers 0 to 16383"
    assert words in refusal(tmp_path, deep(16383))


def test_images_that_are_divided_otherwise_are_refused(tmp_path: Path):
    old = meta()
    resume(tmp_path, old)
    other = {**old.split_digests, "search/0": "0" * 16}
    sentence = refusal(tmp_path, replace(old, split_digests=other))
    assert "what stays on one side of a split: " in sentence and "--near-duplicates" in sentence
    more = {**old.split_digests, "search/1": "1" * 16}  # of a repeat that is new
    resume(tmp_path, replace(old, split_digests=more))


def test_runs_without_their_settings_are_refused(tmp_path: Path):
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    (folder / STUDY_FILE).unlink()
    with pytest.raises(UserError, match=r"holds trials\.jsonl but no study\.json"):
        resume(folder, meta())


def test_damaged_lines_are_set_aside_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    resume(tmp_path, meta())
    write_lines = "\n".join(["{", "not json", ""])
    (tmp_path / TRIALS_FILE).write_text(write_lines)
    assert resume(tmp_path, meta())[1] == []
    printed = capsys.readouterr().err
    assert "trials.jsonl: 2 damaged lines (first: 1) set aside in trials.damaged.jsonl" in printed
    assert (tmp_path / DAMAGED_FILE).read_text() == write_lines


def test_what_a_kill_left_half_written_is_gone_at_the_next_start(tmp_path: Path):
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    (folder / "best").mkdir(exist_ok=True)
    left = [folder / f".{name}.{'0a' * 16}.tmp" for name in ("study.json", "trials.jsonl")]
    left.append(folder / "best" / f".predictions.json.{'1b' * 16}.tmp")
    left.append(folder / "best" / f".winner.keras.{'1c' * 16}.tmp.keras")
    left.append(folder / "best" / "mistakes" / f".00.png.{'1d' * 16}.tmp")
    left[-1].parent.mkdir()
    own = folder / ".notes.tmp"  # the user's
    for path in (*left, own):
        path.write_text("x")
    with locked(folder):
        assert not any(path.exists() for path in left) and own.exists()


def test_a_report_sweeps_what_a_kill_left_but_not_what_another_is_writing(tmp_path: Path):
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    old, new = (folder / "report" / f".report.html.{c * 32}.tmp" for c in "ab")
    old.parent.mkdir()
    for path in (old, new):
        path.write_text("x")
    os.utime(old, (1, 1))
    write_report(tmp_path)
    assert not old.exists() and new.exists()


# ---- --overwrite ----


def test_overwriting_deletes_a_study_and_what_a_kill_left(tmp_path: Path):
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    (folder / "report").mkdir()
    (folder / "report" / "report.md").write_text("x")
    with locked(folder):
        clear(folder)
        assert [path.name for path in folder.iterdir()] in ([".lock"], [])
        assert resume(folder, meta())[1] == []


def test_overwriting_refuses_a_folder_with_other_things_and_deletes_nothing(tmp_path: Path):
    folder = write_study(tmp_path, ["adam"], repeats=1, confirm=1, trials=3)
    (folder / "thesis.txt").write_text("years of work")
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(UserError, match=r"also holds 'thesis.txt', which is not part of a study"):
        clear(folder)
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_overwriting_follows_no_link_out_of_the_study(tmp_path: Path):
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold.txt").write_text("gold")
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "best").symlink_to(treasure)
    (folder / TRIALS_FILE).symlink_to(treasure / "gold.txt")
    clear(folder)
    assert list(folder.iterdir()) == []
    assert (treasure / "gold.txt").read_text() == "gold"


# ---- the lock ----

HOLD = """
import sys
from pathlib import Path
from study.search.study_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on the study in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_dead(
    holder: subprocess.Popen[str], tmp_path: Path
):
    with (
        pytest.raises(UserError, match="another process is working on this study; wait for it"),
        locked(tmp_path),
    ):
        pytest.fail("two processes on one study")
    holder.kill()  # SIGKILL: it cannot tidy up
    holder.wait()
    with locked(tmp_path):
        resume(tmp_path, meta())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "study"):
        with (
            pytest.raises(UserError, match=r"cannot be written \(.*choose another `logs` or"),
            locked(folder),
        ):
            pytest.fail("a file is no folder")


def test_records_of_a_resumed_study_are_those_that_were_written(tmp_path: Path):
    records = make_records(["adam"], repeats=1, confirm=1, trials=3)
    folder = write_study(tmp_path, ["adam"], records=records)
    old = load_meta(folder)
    assert [r.trial_id for r in resume(folder, old)[1]] == sorted(r.trial_id for r in records)
