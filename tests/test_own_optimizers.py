"""Optimizers of the user's: known by their files, trained as plain Keras trains them, or alone."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.common.errors import CodeError, UserError
from study.records.outcomes import training_length
from study.records.study_meta import load_meta
from study.records.trial_record import Phase
from study.records.trials_file import load_trials
from study.report.keras_code import keras_code
from study.search import main
from study.search.own_code import alone_words, idle_rate_words, printed_words
from study.space.keras_optimizers import argument_rules
from study.space.own_optimizers import blamed, load_code, own_optimizers
from study.space.search_space import SearchSpace, load_space
from study.training.mappable import Alone, blamed_operation, trained_alone
from study.training.plain_keras import train_plainly
from study.training.population import LocalTrainer
from study.training.runs import HeadRun, TrainingRules, TrainingTable
from study.training.step_state import hidden_state, own_rate

SIGN = '''
import keras
from keras import ops


class Sign(keras.optimizers.Optimizer):
    """Sign descent with momentum."""

    def __init__(self, learning_rate=1e-3, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        super().build(variables)
        self.averages = [self.add_variable_from_reference(v, "average") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        average = self.averages[self._get_variable_index(variable)]
        average.assign(self.momentum * average + (1 - self.momentum) * gradient)
        self.assign_sub(variable, learning_rate * ops.sign(average))
'''
WHOLE = '''
class Whole(keras.optimizers.Optimizer):
    """Looks at whole variables, and starts from something that its arguments and weights decide."""

    def __init__(self, learning_rate=1e-2, power=1.0, pull=0.1):
        super().__init__(learning_rate=learning_rate)
        self.power, self.pull = power, pull

    def build(self, variables):
        super().build(variables)
        self.starts = [self.add_variable_from_reference(v, "start") for v in variables]
        for start, variable in zip(self.starts, variables):
            start.assign(ops.convert_to_tensor(variable) * self.pull)

    def update_step(self, gradient, variable, learning_rate):
        start = self.starts[self._get_variable_index(variable)]
        step = gradient / (ops.norm(gradient) + 1e-7) ** self.power + self.pull * (variable - start)
        self.assign_sub(variable, learning_rate * step)
'''
COUNTS = '''
class Counts(Sign):
    """Keeps a number in Python."""

    steps = 0

    def update_step(self, gradient, variable, learning_rate):
        self.steps += 1
        super().update_step(gradient, variable, learning_rate / self.steps**0.5)
'''
DECIDES = '''
class Decides(Sign):
    """Looks at a value in Python."""

    def update_step(self, gradient, variable, learning_rate):
        if ops.max(ops.abs(gradient)) > 0.05:
            learning_rate = learning_rate / 2
        super().update_step(gradient, variable, learning_rate)
'''
HIDES = '''
class Hides(Sign):
    """Keeps what its argument makes, not the argument."""

    def __init__(self, learning_rate=1e-3, gain=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.factor = 1 + gain

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.factor)
'''
COMPARES = '''
class Compares(Sign):
    """Another rule for large values of an argument."""

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate * 2 if self.momentum > 0.5 else learning_rate
        super().update_step(gradient, variable, rate)
'''
TABLES = {
    "Sign": 'learning_rate = {min = 1e-4, max = 1e-2, scale = "log"}\n'
    'one_minus_momentum = {min = 0.01, max = 0.5, scale = "log"}',
    "Counts": 'learning_rate = {min = 1e-4, max = 1e-2, scale = "log"}',
    "Whole": "power = {min = 0.5, max = 1.5}\npull = {min = 0.0, max = 0.5}",
    "Hides": "gain = {min = 0.5, max = 2}",
    "Compares": 'one_minus_momentum = {min = 0.01, max = 0.9, scale = "log"}',
}


@pytest.fixture(autouse=True)
def forgotten():
    yield
    load_code([])


def code(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def space_of(folder: Path, *classes: str, top: str = "", lines: str | None = None) -> SearchSpace:
    tables = [
        f'[optimizers.{one.lower()}]\nclass = "{one}"\n'
        + (TABLES.get(one, "") if lines is None else lines)
        for one in classes
    ]
    path = folder / "space.toml"
    path.write_text("\n".join([top, *tables]), encoding="utf-8")
    return load_space(str(path))


# ---- files ----


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "defines no optimizer"),
        (f"{SIGN}\n_Sign, Sign = Sign, None", "defines no optimizer"),
        (f"{SIGN}\nAdam = Sign", "Keras has a class Adam, too; rename"),
        ("import nothing_of_that_name", "could not be run"),
        ("x = = 1", "could not be run"),
        ("raise SystemExit(0)", "could not be run"),
    ],
)
def test_a_file_without_use_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = code(tmp_path, text)
    with pytest.raises(UserError, match=re.escape(str(path))) as caught:
        load_code([path])
    assert words in str(caught.value)


def test_a_missing_file_and_a_class_of_two_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_code([tmp_path / "nowhere.py"])
    with pytest.raises(UserError, match=r"is in .*one.py, too; rename"):
        load_code([code(tmp_path, SIGN, "one.py"), code(tmp_path, SIGN, "two.py")])


def test_the_digest_knows_the_files_that_are_imported_from_beside(tmp_path: Path) -> None:
    code(tmp_path, "FACTOR = 1", "constants.py")
    path = code(tmp_path, f"from constants import FACTOR\n{SIGN}")
    first = load_code([path])["Sign"].digest
    assert load_code([path])["Sign"].digest == first
    code(tmp_path, "FACTOR = 2", "constants.py")
    assert load_code([path])["Sign"].digest != first
    assert "constants" in sys.modules  # until the next files are loaded
    load_code([])
    assert "constants" not in sys.modules and not own_optimizers()


def test_an_error_in_the_code_is_blamed_on_it_and_shown_from_there(tmp_path: Path) -> None:
    text = SIGN.replace("self.momentum = momentum", "raise RuntimeError('unfinished')")
    path = code(tmp_path, text)
    load_code([path])
    with pytest.raises(CodeError, match="raised RuntimeError") as caught, blamed():
        own_optimizers()["Sign"].keras_class()
    trace = caught.value.__cause__.__traceback__
    assert trace.tb_frame.f_code.co_filename == str(path)
    with pytest.raises(ZeroDivisionError), blamed():
        raise ZeroDivisionError  # somebody else's


# ---- search spaces ----


def test_a_class_is_unknown_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"optimizers.sign.class: received 'Sign'.*`code`"):
        space_of(tmp_path, "Sign")


def test_arguments_are_ruled_by_how_their_names_end(tmp_path: Path) -> None:
    text = "import keras\n\n\nclass Ends(keras.optimizers.Optimizer):\n"
    text += "    def __init__(self, learning_rate=0.1, slow_beta_1=0.9, sync_steps=1, **more):\n"
    load_code([code(tmp_path, text + "        super().__init__(learning_rate, **more)\n")])
    rules = argument_rules("Ends")
    assert not rules["slow_beta_1"].check(1.5) and not rules["sync_steps"].check(0.5)


def test_arguments_come_from_the_signature_and_those_behind_kwargs(tmp_path: Path) -> None:
    text = SIGN.replace("momentum=0.9,", "momentum=0.9, k: int = 1, order=2, shift=0.5, kind='a',")
    load_code([code(tmp_path, text)])
    for line in ("one_minus_momentum = 0.1", "weight_decay = 1e-3", "shift = -2.0", "k = 3"):
        space_of(tmp_path, "Sign", lines=line)
    for line, words in (
        ("order = 1.5", "needs a whole number"),
        ("moment = 0.9", "did you mean momentum"),
        ("use_ema = true", "not supported: averaged weights"),
        ("gradient_accumulation_steps = 2", "not supported: choose a larger batch_size"),
    ):
        with pytest.raises(UserError, match=words):
            space_of(tmp_path, "Sign", lines=line)


def test_what_has_no_default_must_stand_in_the_file(tmp_path: Path) -> None:
    text = SIGN.replace("learning_rate=1e-3, momentum=0.9", "learning_rate, momentum")
    load_code([code(tmp_path, text)])
    untuned = space_of(tmp_path, "Sign").default("sign")
    assert untuned.learning_rate == pytest.approx(1e-3)  # the middle of the range
    assert untuned.optimizer_hyperparameters["momentum"] == pytest.approx(1 - 0.0707, abs=1e-3)
    with pytest.raises(UserError, match="learning_rate: missing"):
        space_of(tmp_path, "Sign", lines="momentum = 0.5")
    with pytest.raises(UserError, match=r"refused by Sign: .*momentum"):
        space_of(tmp_path, "Sign", lines="learning_rate = 0.1")


def test_a_space_may_extend_one_of_the_studys(tmp_path: Path) -> None:
    load_code([code(tmp_path, SIGN)])
    space, default = space_of(tmp_path, "Sign", top='extends = "default"'), load_space("default")
    assert list(space.optimizers) == [*default.optimizers, "sign"]
    assert space.head == default.head and space.schedules == default.schedules
    with pytest.raises(UserError, match=r"extends: received 'mine', but needs one of blog_t11"):
        space_of(tmp_path, "Sign", top='extends = "mine"')


# ---- training ----


def test_what_can_be_mapped_is_and_the_rest_is_found_before_the_search(tmp_path: Path) -> None:
    load_code([code(tmp_path, SIGN + WHOLE + COUNTS + DECIDES + HIDES + COMPARES)])
    space = space_of(tmp_path, "Sign", "Whole", "Counts", "Decides", "Hides", "Compares")
    alone = trained_alone(space)
    assert list(alone) == ["counts", "decides", "hides", "compares"]
    lines = (SIGN + WHOLE + COUNTS + DECIDES).splitlines()
    line = next(i for i, text in enumerate(lines) if "if ops.max" in text)
    assert f"mine.py line {line + 1} `if ops.max(" in alone["decides"].reason
    assert alone["counts"].reason.startswith("its steps change its attribute steps, which a")
    assert "argument gain" in alone["hides"].reason and "with 0.5" in alone["compares"].reason


LATE = """
seen = []
kept = {"calls": 0}


class Attribute(Sign):
    calls = 0

    def update_step(self, gradient, variable, learning_rate):
        self.calls += 1
        super().update_step(gradient, variable, learning_rate * (self.calls < 300))


class Listed(Sign):
    def update_step(self, gradient, variable, learning_rate):
        seen.append(1)
        super().update_step(gradient, variable, learning_rate * (len(seen) < 10_000))


class InDict(Sign):
    def update_step(self, gradient, variable, learning_rate):
        kept["calls"] += 1
        super().update_step(gradient, variable, learning_rate * (kept["calls"] < 10_000))


class OfClass(Sign):
    def update_step(self, gradient, variable, learning_rate):
        OfClass.calls = getattr(OfClass, "calls", 0) + 1
        super().update_step(gradient, variable, learning_rate * (OfClass.calls < 10_000))


class Slots:
    __slots__ = ("calls",)


class Held(Sign):
    def __init__(self, learning_rate=1e-3, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.held = iter(range(10_000)), Slots()
        self.held[1].calls = 0

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * (next(self.held[0]) < 300))


class Slotted(Held):
    def update_step(self, gradient, variable, learning_rate):
        self.held[1].calls += 1
        Sign.update_step(self, gradient, variable, learning_rate)


def late(rule):
    calls = []

    def counted(self, gradient, variable, learning_rate):
        calls.append(1)
        rule(self, gradient, variable, learning_rate * (len(calls) < 10_000))

    return counted


class Closed(Sign):
    update_step = late(Sign.update_step)


class Applies(Sign):
    def apply_gradients(self, pairs):
        return super().apply_gradients([(gradient / 2, variable) for gradient, variable in pairs])


class Lazy(Sign):
    def update_step(self, gradient, variable, learning_rate):
        if len(self.averages) < 9:
            self.averages.append(self.add_variable_from_reference(variable, "late"))
        super().update_step(gradient, variable, learning_rate)


class Noisy(Sign):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient + keras.random.normal(gradient.shape), variable, learning_rate)


class Rarely(Sign):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * (random.random() < 0.999))


class Clocked(Sign):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * time.perf_counter_ns(), variable, learning_rate)
        self.assign_sub(variable, 1e-9 * (time.perf_counter_ns() % 1000) * gradient)


class Lost(Sign):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient / 0, variable, learning_rate)
"""


def test_state_outside_variables_is_found_however_late_it_matters(tmp_path: Path) -> None:
    load_code([code(tmp_path, f"import random\nimport time\n{SIGN}{LATE}")])
    words = {
        "Attribute": "its attribute calls,", "Listed": "the global seen,", "InDict": "kept,",
        "OfClass": "the attribute calls of its class OfClass, which a compiled program would not "
        "see and which outlives a run", "Held": "its attribute held", "Slotted": "attribute held",
        "Closed": "what the method Closed.update_step keeps", "Applies": "`apply_gradients`",
        "Lazy": "make them in `build`",
        "Noisy": "random numbers from outside", "Rarely": "from the seed of each run",
        "Clocked": "not reproducible; it depends on a clock", "Lost": "", "Sign": "",
    }  # fmt: skip
    space = space_of(tmp_path, *words, lines="")
    for name, word in words.items():
        found = hidden_state(space.default(name.lower()))
        assert word in found and bool(word) == bool(found), found


@pytest.mark.parametrize(
    "drawn", ["keras.random.normal(())", "tf.random.normal(())", "np.random.normal()"]
)
def test_random_numbers_of_a_rule_come_from_the_seed_of_the_run(tmp_path: Path, drawn: str) -> None:
    text = SIGN.replace("* gradient)", f"* gradient * {drawn})")
    load_code([code(tmp_path, f"import numpy as np\nimport tensorflow as tf\n{text}")])
    config = replace(space_of(tmp_path, "Sign").default("sign"), dense_width=4)
    rows, labels = np.eye(8, 4, dtype=np.float32), np.arange(8, dtype=np.int32) % 2
    table, rules = TrainingTable(rows, labels, 2), TrainingRules(max_epochs=1)
    numbers = np.arange(8, dtype=np.int32)
    runs = [HeadRun(config, numbers, numbers, seed=seed, epochs=1) for seed in (1, 1, 2)]
    first, again, other = (train_plainly(run, table, rules).weights[0] for run in runs)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


UNTRACED = """
class Noise(Sign):
    def update_step(self, gradient, variable, learning_rate):
        noise = keras.random.normal(gradient.shape, seed=3)  # a line
        super().update_step(gradient + noise, variable, learning_rate)


class Branch(Sign):
    def update_step(self, gradient, variable, learning_rate):
        low = ops.norm(gradient) < 0.5
        gradient = ops.cond(low, lambda: gradient, lambda: gradient / 2)  # a line
        super().update_step(gradient, variable, learning_rate)


class Outside(Sign):
    def __init__(self, learning_rate=1e-3, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.noise = keras.random.SeedGenerator(1)

    def update_step(self, gradient, variable, learning_rate):
        noise = keras.random.normal(gradient.shape, seed=self.noise)  # a line
        super().update_step(gradient + noise, variable, learning_rate)


class Keeps(Sign):
    def __init__(self, learning_rate=1e-3, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.rate = learning_rate

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self.rate)


class Drops(Sign):
    def __init__(self, learning_rate=1e-3, **kwargs):
        super().__init__(0.1, **kwargs)


class Sets(Sign):
    def update_step(self, gradient, variable, learning_rate):
        self.learning_rate.assign(self.learning_rate * 0.99)
        super().update_step(gradient, variable, learning_rate)


class Idle(Sign):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, 0.1)
"""


def test_the_reason_for_training_alone_is_a_line_or_the_learning_rate(tmp_path: Path) -> None:
    load_code([code(tmp_path, SIGN + UNTRACED)])
    names = ["Noise", "Branch", "Outside"]
    space = space_of(tmp_path, *names, lines="")
    lines = [i for i, text in enumerate((SIGN + UNTRACED).splitlines(), 1) if "# a line" in text]
    words = ("draws random numbers", "decides or repeats by values", "`self.add_variable`")
    for name, line, word in zip(names, lines, words, strict=True):
        found = blamed_operation(space.default(name.lower()))
        assert found.startswith(f"mine.py line {line} `") and word in found
    space = space_of(tmp_path, "Keeps", "Drops", "Sets", "Sign", "Idle", lines="")
    for name, word in (("keeps", "received, not"), ("drops", "on"), ("sets", "steps change")):
        assert word in own_rate(space.default(name))
    assert own_rate(space.default("sign")) == ""
    tuned = 'learning_rate = {min = 1e-4, max = 1e-2, scale = "log"}'
    (said,) = idle_rate_words(space_of(tmp_path, "Sign", "Drops", "Idle", lines=tuned))
    assert said.startswith("the learning rate of drops and idle has no effect")
    fixed = 'learning_rate = 0.1\nschedules = ["constant"]'
    assert idle_rate_words(space_of(tmp_path, "Idle", lines=fixed)) == []


def test_two_hundred_optimizers_of_one_reason_are_one_sentence() -> None:
    alone = {f"a{i}": Alone("its steps change x", 0.01) for i in range(200)}
    (said,) = alone_words(alone)
    assert said.startswith("the heads of a0, a1, a2, a3 and 196 more cannot be trained together")
    assert len(alone_words({f"a{i}": Alone(f"reason {i}", 0.01) for i in range(200)})) == 5


def test_of_what_code_prints_the_first_lines_and_a_number_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code(tmp_path, "def say():\n    print('more')\n", "beside.py")
    text = f"import beside\n{SIGN}\nfor i in range(300):\n    print('line', i)\n"
    with (tmp_path / "log").open("w") as file:
        load_code([code(tmp_path, text)])
        sys.modules["beside"].say()
        sys.modules[own_optimizers()["Sign"].keras_class.__module__].print("kept", file=file)
    assert capsys.readouterr().out.splitlines() == [f"line {i}" for i in range(5)]
    assert printed_words() == ["code: mine.py printed 296 more lines, not shown"]
    assert (tmp_path / "log").read_text() == "kept\n"


def test_an_error_that_shows_a_tensor_is_cut(tmp_path: Path) -> None:
    text = SIGN.replace("self.momentum = momentum", "raise ValueError('bad\\n' + '0.1 \\n' * 270)")
    load_code([code(tmp_path, text)])
    with pytest.raises(CodeError) as caught, blamed():
        own_optimizers()["Sign"].keras_class()
    lines = caught.value.traceback_lines()
    assert len(lines) < 15 and "ValueError: bad" in lines and lines[-1] == "... and 266 more lines"


NOT_KERAS_3 = """
class Old(keras.optimizers.Optimizer):
    def _resource_apply_dense(self, gradient, variable):
        pass


class Wrong(Sign):
    def update_step(self, gradient, variable):
        pass


class Called(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.01, **kwargs):
        super().__init__(learning_rate=lambda: learning_rate, **kwargs)


class Halved(Sign):
    def __init__(self, learning_rate=0.01, **kwargs):
        super().__init__(learning_rate=learning_rate / 2, **kwargs)


class Scheduled(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.01, **kwargs):
        rate = keras.optimizers.schedules.ExponentialDecay(learning_rate, 20, 0.9)
        super().__init__(learning_rate=rate, **kwargs)
"""


def test_what_keras_would_never_call_and_schedules_of_its_own_are_refused(tmp_path: Path) -> None:
    load_code([code(tmp_path, SIGN + NOT_KERAS_3)])
    with pytest.raises(UserError, match=r"Old has no `update_step\(self, gradient, variable"):
        trained_alone(space_of(tmp_path, "Old", lines=TABLES["Counts"]))
    for name in ("Scheduled", "Called"):
        with pytest.raises(UserError, match=f"{name} makes a schedule of its own"):
            trained_alone(space_of(tmp_path, name, lines=""))
    with pytest.raises(
        UserError, match=r"step with Wrong: TypeError: Wrong.update_step\(\) takes 3"
    ):
        trained_alone(space_of(tmp_path, "Wrong", lines=""))
    with pytest.raises(UserError, match=r"Halved takes no schedule .*TypeError.*schedules = \["):
        trained_alone(space_of(tmp_path, "Halved", lines="", top="[schedules.cosine]"))


def test_the_readmes_optimizer_and_space_are_what_they_say(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Judge your own optimizer")[2].partition("\n## ")[0]
    blocks = dict(re.findall(r"```(python|toml)\n(.*?)```", section, re.DOTALL))
    load_code([code(tmp_path, blocks["python"], "sign_momentum.py")])
    (tmp_path / "mine.toml").write_text(blocks["toml"], encoding="utf-8")
    space = load_space(str(tmp_path / "mine.toml"))
    assert len(space.optimizers) == 13 and not trained_alone(space)


@pytest.mark.parametrize("alone", [False, True])
def test_a_run_is_the_same_mapped_and_alone(tmp_path: Path, alone: bool) -> None:
    load_code([code(tmp_path, SIGN + WHOLE)])
    space = space_of(tmp_path, "Whole")
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 60).astype(np.int32)
    rows = (rng.normal(size=(60, 8)) + 2 * np.eye(3, 8)[labels]).astype(np.float32)
    config = replace(space.default("whole"), dense_width=8, dropout=0.0, batch_norm=False)
    changes = ({"power": 1.2, "pull": 0.3}, {"power": 0.7, "pull": 0.05})
    runs = [
        HeadRun(
            replace(config, optimizer_hyperparameters=change),
            np.arange(40, dtype=np.int32), np.arange(40, 60, dtype=np.int32), seed=5 + i, epochs=3,
        )
        for i, change in enumerate(changes)
    ]  # fmt: skip
    table = TrainingTable(rows, labels, 3)
    rules = TrainingRules(max_epochs=3, alone=["whole"] if alone else [])
    trainer = LocalTrainer(table, rules, size=2)
    found = dict(pair for part in trainer.train(runs) for pair in part)
    for index, run in enumerate(runs):
        wanted = train_plainly(run, table, rules)
        for key in ("loss", "accuracy", "val_loss", "val_accuracy", "val_hits_a", "val_hits_b"):
            ours, theirs = (getattr(one.metrics, key) for one in (found[index], wanted))
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        for ours, theirs in zip(found[index].weights, wanted.weights, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert (found[index].state is None) == alone


# ---- the command ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


def search(folder: Path, data: Path, *more: str) -> int:
    arguments = ["--image-size", "32", "--weights", "random", "--repeats", "1", "--confirm", "1"]
    arguments += ["--max-epochs", "3", "--tuner", "random", "--trials", "2", "--name", "small"]
    for flag, path in (("data", data), ("logs", folder / "logs"), ("cache-dir", folder / "cache")):
        arguments += [f"--{flag}", str(path)]
    return main([*arguments, *more])


def test_a_study_of_own_optimizers_says_what_it_ran_and_prints_code_that_runs(
    folder: Path, picture_folder: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = code(folder, SIGN + COUNTS)
    load_code([path])
    space_of(folder, "Sign", "Counts")
    given = ["--space", str(folder / "space.toml"), "--code", str(path)]
    assert search(folder, picture_folder, *given) == 0
    said = capfd.readouterr().out
    assert f"code: ran {path} (sha256 " in said and "it defines Sign, Counts" in said
    assert "warning: the heads of counts cannot be trained together: its steps change" in said
    study = folder / "logs" / "small"
    meta, records = load_meta(study), load_trials(study)
    assert meta.code["sign"] | {"digest": ""} == {
        "class": "Sign", "file": "mine.py", "digest": "", "alone": ""
    }  # fmt: skip
    assert "attribute steps" in meta.code["counts"]["alone"]
    phases = {(r.optimizer, r.phase) for r in records if r.phase is not Phase.BUDGET}
    assert phases == {(name, p) for name in ("sign", "counts") for p in Phase if p != Phase.BUDGET}
    assert (study / "best" / "winner.keras").exists()
    page = (study / "report" / "report.md").read_text(encoding="utf-8")
    assert f"sign is the class Sign of mine.py (sha256 {meta.code['sign']['digest'][:12]})" in page
    assert "Plain Keras trained counts one head at a time" in page
    monkeypatch.syspath_prepend(str(folder))
    rows, labels = np.ones((9, 512), np.float32), np.arange(9) % 3
    for name in ("sign", "counts"):
        run = next(r for r in records if r.optimizer == name and r.phase is Phase.CONFIRM)
        pasted: dict[str, object] = {}
        exec(keras_code(meta, run, training_length(run, [run])), pasted)
        assert pasted["train"](rows, labels, verbose=0).optimizer.__class__.__name__ == name.title()


def test_edited_code_is_another_optimizer(
    folder: Path, picture_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ["--space", str(folder / "space.toml"), "--code", str(folder / "mine.py")]
    before = (folder / "logs" / "small" / "trials.jsonl").read_bytes()
    code(folder, SIGN + COUNTS + "# another line")
    capfd.readouterr()
    assert search(folder, picture_folder, *given) == 2
    assert "code of sign in mine.py " in capfd.readouterr().err
    assert (folder / "logs" / "small" / "trials.jsonl").read_bytes() == before


def test_code_that_no_optimizer_of_the_space_uses_is_refused_with_a_table_to_add(
    tmp_path: Path, picture_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert search(tmp_path, picture_folder, "--code", str(code(tmp_path, SIGN))) == 2
    said = capfd.readouterr().err
    assert '[optimizers.sign]\nclass = "Sign"\nlearning_rate = {min' in said
