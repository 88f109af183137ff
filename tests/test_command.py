"""A mistake is one sentence: of arguments in a library, of flags on a command line."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from study.common.command import complain, in_flags
from study.common.errors import UserError

ROOT = Path(__file__).parents[1]
GIVEN = argparse.Namespace(image_size=3, data=None)
COMMANDS_OWN = ("command.py", "options.py", "option_rules.py", "predict.py")
# another command's flag, named with that command; pip's own
OTHERS = ("`python -m study.search` and --overwrite", "--force-reinstall", "--no-deps")


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


def test_a_mistake_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(UserError("`data` is empty"), GIVEN) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: --data is empty\n")


@pytest.mark.parametrize("path", sorted((ROOT / "study").rglob("*.py")), ids=lambda path: path.stem)
def test_no_library_function_speaks_of_flags(path: Path) -> None:
    if path.name in COMMANDS_OWN:
        return
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "UserError"):
            continue
        parts = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
        text = "".join(part for part in parts if isinstance(part, str))
        for other in OTHERS:
            text = text.replace(other, "")
        flag = re.search(r"--[a-z]", text)
        assert not flag, f"{path.relative_to(ROOT)}:{call.lineno}: a flag in a library's sentence"
