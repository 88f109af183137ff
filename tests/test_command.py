"""A mistake is one sentence: of arguments in a library, of flags on a command line."""

import argparse
import ast
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from study.common.command import COMMANDS, CONSOLE, complain, in_flags, main, parse, typed
from study.common.errors import CodeError, UserError, warn
from study.search.command_line import as_arguments

ROOT = Path(__file__).parents[1]
GIVEN = argparse.Namespace(image_size=3, data=None)
COMMANDS_OWN = ("command.py", "command_line.py", "options.py", "predict.py")
# another command's flag, named with that command; pip's own
OTHERS = ("search--overwrite", "--force-reinstall", "--no-deps")
OTHERS += ("ray start --head", "ray start --object-store-memory", "--shm-size")


@pytest.mark.parametrize(
    ("sentence", "printed"),
    [
        ("`image_size` 3: too small", "--image-size 3: too small"),
        ("give `data` a folder, `image_size` 9", "give --data a folder, --image-size 9"),
        ("give `cache_dir` a folder", "give `cache_dir` a folder"),  # no option of this command
        ("run `python -m study.search` first", "run `python -m study.search` first"),
        ("photos/`odd name`.jpg is cut off", "photos/`odd name`.jpg is cut off"),
    ],
)
def test_an_argument_becomes_the_flag_of_the_command(sentence: str, printed: str) -> None:
    assert in_flags(sentence, GIVEN) == printed


def test_a_command_that_is_printed_works_when_it_is_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--logs", "my logs; $(rm -rf ~)", "--study", "it's"]
    started = {
        "/bin/optimizer-study": "optimizer-study report",
        "/lib/study/report/__main__.py": "python -m study.report",
    }
    for program, start in started.items():
        monkeypatch.setattr("sys.argv", [program])
        printed = typed("report", *arguments)
        assert printed.startswith(start)
        assert shlex.split(printed) == [*start.split(), *arguments]


SCRIPT = "import sys\nfrom {} import {}\nsys.exit({}())\n"  # as pip writes it


@pytest.mark.parametrize("command", COMMANDS)
def test_the_console_command_runs_beside_a_study_py_of_the_user(
    command: str, tmp_path: Path
) -> None:
    """Python puts the script's own folder first, not the one where somebody stands."""
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][CONSOLE]
    module, function = entry.split(":")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / CONSOLE
    script.write_text(SCRIPT.format(module, function, function))
    (tmp_path / "study.py").write_text("raise SystemExit('this is the file of the user')")
    (tmp_path / "search_spaces").mkdir()
    ended = subprocess.run(
        [sys.executable, str(script), command, "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"usage: optimizer-study {command}")


def test_a_terminal_that_lacks_a_sign_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    parse(argparse.ArgumentParser(), [])
    print("behind ≤", flush=True)
    assert written.getvalue() == b"behind ?\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["serach"],
            "serach: unknown command (did you mean search?); valid: search, report, compare, data",
        ),
        (["--verbose"], "--verbose: unknown command; valid: search, report, compare, data"),
        ([], "no command given; valid: search, report, compare, data"),
    ],
)
def test_a_command_that_does_not_exist_is_one_line(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {line}") and printed.count("\n") == 1


def test_the_console_command_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_option_of_any_command_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, "x", "--studi", "y", "--dat"])
    printed = capsys.readouterr().err
    assert re.fullmatch(r"error: --studi: unknown option.*; --help(-all)? lists all.*\n", printed)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "missing: IMAGE; --help lists all options"),
        (["x.jpg", "--logs"], "--logs: needs a value; --help lists all options"),
        (["x.jpg", "--stu", "y"], "--stu: unknown option (did you mean --study?); --help lists"),
        (["x.jpg", "--a\x1b[2J"], "--a\\x1b[2J: unknown option; --help lists all options"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", *argv])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"error: {line}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["search", "--data", r"C:\Users\my photos"], "--data: C:.* it, /mnt/c/Users/my photos"),
        (
            ["search", "--base", r"VGG16,D:\a.keras"],
            "--base: .* as WSL has it, VGG16,/mnt/d/a.keras",
        ),
        (["search", "--code", "c:/me/x.py"], "--code: c:/.* as WSL has it, /mnt/c/me/x.py"),
        (["data", "--data", r"\\wsl$\Ubuntu\home\me"], "--data: .* as WSL has it, /home/me"),
        (["data", "--data", "C:Usersmephotos"], "--data: C:Usersmephotos lost its backslashes .*"),
        (["report", "--logs", r"C:\Users\logs"], "--logs: .* as WSL has it, /mnt/c/Users/logs"),
        (["predict", r"tests\conftest.py"], "IMAGE: .* as WSL has it, tests/conftest.py"),
    ],
)
def test_a_path_of_windows_is_named_as_wsl_has_it(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert re.fullmatch(f"error: {said}\n", capsys.readouterr().err)


def test_what_only_looks_like_a_path_of_windows_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / r"C:\data").mkdir()  # Linux allows it
    values = {"data": r"C:\data", "group_pattern": r"c:\\(\d)", "cluster": "a:6379", "logs": r"a\b"}
    as_arguments(**values)
    with pytest.raises(UserError, match=r"`data`: C:.* as WSL has it, /mnt/c/photos"):
        as_arguments(data=r"C:\photos")


SETTINGS = """
from study.common.tensorflow import NEEDED, import_tensorflow, keras_home
import_tensorflow()
import keras, keras_tuner
from keras.src.backend.config import keras_home as theirs
found = {name: getattr(keras.config, name)() for name in NEEDED}
found["dtype_policy"] = found["dtype_policy"].name
assert found == NEEDED, found
assert theirs() == str(keras_home()) and keras.config.max_epochs() is None
keras.config.set_floatx("float64")
import_tensorflow()
"""


def test_keras_starts_with_its_defaults_whatever_lies_around(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('["no table"]')  # Keras's own import fails
    foreign = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        capture_output=True, text=True, check=False, env=os.environ | foreign,
    )  # fmt: skip
    last = ended.stderr.splitlines()[-1]
    assert "this process has imported Keras with floatx float64" in last, ended.stderr


def test_a_mistake_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(UserError("`data` is empty"), GIVEN) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: --data is empty\n")


def test_a_mistake_quotes_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("own\x1b[2J\n.py")
    error = CodeError(f"`code` {file}: could not be run")
    error.__cause__ = ValueError("\u202ex\x07")
    assert complain(error, GIVEN) == 2
    warn(f"{file} is damaged")
    shown = "own\\x1b[2J\\n.py"
    assert capsys.readouterr().err == (
        f"ValueError: \\u202ex\\x07\nerror: `code` {shown}: could not be run\n"
        f"warning: {shown} is damaged\n"
    )


def test_no_library_function_speaks_of_flags() -> None:
    faults = []
    for path in sorted((ROOT / "study").rglob("*.py")):
        if path.name in COMMANDS_OWN:
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "UserError"):
                continue
            parts = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
            text = "".join(part for part in parts if isinstance(part, str))
            for other in OTHERS:
                text = text.replace(other, "")
            if re.search(r"--[a-z]", text):
                faults.append(f"{path.relative_to(ROOT)}:{call.lineno}: {text}")
    assert not faults, "\n".join(faults)


def test_nobody_who_reads_on_is_no_mistake(picture_folder: Path, tmp_path: Path) -> None:
    """`python -m study.data | head`: no sentence, no traceback."""
    words = [sys.executable, "-m", "study.data", "--data", str(picture_folder)]
    command = [*words, "--grid", str(tmp_path / "grid.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 141
    assert all(line.startswith(("checking", "comparing")) for line in said.splitlines())
