"""What a night does to a study: kills at random moments, a full disk, two processes at once.

The kills take minutes and run only when asked for:

    python -m pytest tests/test_kills.py -m slow
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search import main

KILLS = int(os.environ.get("KILLS", "50"))
KILLS_A_STUDY = 8  # at most; then it may end
ARGUMENTS = ["--image-size", "32", "--space", "quick", "--optimizers", "sgd,adam,lion"]
ARGUMENTS += ["--repeats", "2", "--confirm", "2", "--max-epochs", "9", "--weights", "random"]
ARGUMENTS += ["--population", "4", "--name", "night"]
SHORT = ["--optimizers", "sgd,adam", "--max-epochs", "4"]


def arguments(data: Path, top: Path, *more: str, cache: Path | None = None) -> list[str]:
    places = ["--data", data, "--logs", top / "logs", "--cache-dir", cache or top / "cache"]
    return [*map(str, places), *ARGUMENTS, *more]


def command(data: Path, top: Path, *more: str, cache: Path | None = None) -> list[str]:
    return [sys.executable, "-m", "study.search", *arguments(data, top, *more, cache=cache)]


def finish(data: Path, top: Path) -> None:
    ended = subprocess.run(
        command(data, top), capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def outcome(top: Path) -> tuple[dict[str, TrialRecord], str]:
    """Records without their times, and the ranking."""
    folder = top / "logs" / "night"
    records = {r.trial_id: replace(r, seconds=0.0) for r in load_trials(folder)}
    ranking = (folder / "report" / "ranking.csv").read_text(encoding="utf-8").splitlines()
    head = ranking[0].split(",")
    kept = [i for i, name in enumerate(head) if "seconds" not in name]
    return records, "\n".join(",".join(line.split(",")[i] for i in kept) for line in ranking)


@pytest.fixture(scope="module")
def undisturbed(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short study; its programs and features serve the others."""
    top = tmp_path_factory.mktemp("undisturbed")
    assert main(arguments(picture_folder, top, *SHORT)) == 0
    return top


@pytest.mark.slow
def test_kills_at_random_moments_change_no_record_and_no_rank(
    picture_folder: Path, tmp_path: Path
) -> None:
    rng = random.Random(20)
    start = time.monotonic()
    finish(picture_folder, tmp_path / "timed")
    length = time.monotonic() - start
    expected = outcome(tmp_path / "timed")
    kills = rounds = 0
    while kills < KILLS:
        top, last = tmp_path / f"round{rounds}", kills + KILLS_A_STUDY
        while True:
            process = subprocess.Popen(
                command(picture_folder, top), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                # half of the moments anywhere, half of them after the imports
                moment = rng.uniform(rng.choice((0.0, 0.3)), 1.05) * length
                process.wait(moment if kills < last else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            _, printed = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, printed.decode()
        rounds += 1
        assert outcome(top) == expected
        shutil.rmtree(top)
    print(f"{kills} kills in {rounds} studies")


def test_a_full_disk_ends_in_a_sentence_and_the_same_command_resumes(
    picture_folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    def no_file_above() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    expected = outcome(undisturbed)
    whole = (undisturbed / "logs" / "night" / "trials.jsonl").stat().st_size
    limit = whole // 2
    cache = undisturbed / "cache"
    ended = subprocess.run(
        command(picture_folder, tmp_path, *SHORT, cache=cache),
        capture_output=True,
        text=True,
        preexec_fn=no_file_above,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "the disk is full" in ended.stderr and "Traceback" not in ended.stderr
    assert main(arguments(picture_folder, tmp_path, *SHORT, cache=cache)) == 0
    assert outcome(tmp_path) == expected


def test_ctrl_c_and_sigterm_say_that_nothing_is_lost(
    picture_folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        top = tmp_path / number.name
        process = subprocess.Popen(
            command(picture_folder, top, cache=undisturbed / "cache"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a shell's background jobs, and so their children, ignore Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        trials = top / "logs" / "night" / "trials.jsonl"
        while not trials.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        _, printed = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"the same command resumes" in printed and b"Traceback" not in printed


@pytest.mark.slow  # by the lock alone: test_study_folder.py
def test_a_second_process_on_the_same_study_is_refused(
    picture_folder: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = undisturbed / "cache"
    first = subprocess.Popen(
        command(picture_folder, tmp_path, *SHORT, cache=cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "logs" / "night" / "study.json").exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)  # or it might end meanwhile
    second = main(arguments(picture_folder, tmp_path, *SHORT, cache=cache))
    first.kill()
    first.wait()
    assert second == 2
    assert "another process is working on this study" in capsys.readouterr().err
    # a dead process holds no lock
    assert main(arguments(picture_folder, tmp_path, *SHORT, cache=cache)) == 0
