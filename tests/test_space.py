"""Search spaces: every refusal's sentence, the spaces that come with the study, the round trip."""

import inspect
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.common.errors import UserError
from study.space.head_config import HeadConfig
from study.space.keras_optimizers import OPTIMIZERS, keras_arguments, keras_optimizers
from study.space.search_space import SearchSpace, load_space
from study.space.toml_reader import MAX_FILE_BYTES
from study.training.head import make_optimizer
from study.training.hypermodel import HeadHyperModel
from study.training.schedules import learning_rates

ADAM = '[optimizers.adam]\nclass = "Adam"\n'
KERAS_TUNER_ASKS_THREADS_FOR_NAMES = pytest.mark.filterwarnings(
    "ignore:currentThread:DeprecationWarning",
    "ignore:getName:DeprecationWarning",
    "ignore:Even though the `tf.config:UserWarning",  # eager steps, not eager data
)
ANY_OPTIMIZERS = sorted(keras_optimizers())


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "my.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(folder: Path, text: str | bytes) -> str:
    path = write(folder, text)
    with pytest.raises(UserError) as caught:
        load_space(path)
    sentence = str(caught.value)
    assert sentence.startswith(path)
    assert "\n" not in sentence.removeprefix(path)
    assert len(sentence) < len(path) + 500
    return sentence.removeprefix(path + ": ")


REFUSALS = {  # what -> the file, and what the sentence must say
    "unknown top key": (
        "[heads]\nx = 1\n" + ADAM,
        "heads: unknown key (did you mean head?)",
    ),
    "unknown head key": (
        "[head]\nwidth = 1\n" + ADAM,
        "unknown key (did you mean dense_width?); valid",
    ),
    "unknown schedule": (
        "[schedules.sine]\n" + ADAM,
        "unknown key (did you mean cosine?); valid: const",
    ),
    "unknown schedule key": (
        "[schedules.cosine]\nfactor = 1\n" + ADAM,
        "schedules.cosine.factor: unknown key (did you mean final_factor?); valid: final_factor",
    ),
    "no optimizers": ("[head]\n", "optimizers: missing; name at least one"),
    "no class": (
        "[optimizers.adam]\n",
        "optimizers.adam: has no class; add a line such as class =",
    ),
    "one key of an inherited table": (
        'extends = "quick"\n[optimizers.adam]\nlearning_rate = 0.1',
        'optimizers.adam: has no class; add a line such as class = "Adam" (a table of this file '
        "replaces the one of `extends` whole",
    ),
    "a name with a dot": (
        ADAM + '[optimizers.adam.v2]\nclass = "Adam"',
        "optimizers.adam.v2: unknown key",
    ),
    "a name with a dot alone": (
        'extends = "quick"\n[optimizers.adam.v2]\nclass = "Adam"',
        "the dot in [optimizers.adam.v2] makes one: write [optimizers.adam_v2]",
    ),
    "above float32": (
        '[optimizers.adam]\nclass = "Adam"\nlearning_rate = 1e300',
        "received 1e+300, but needs a number above 0, of a size that float32 has: 0, or 1e-37 to",
    ),
    "below float32": (ADAM + "epsilon = 1e-300", "received 1e-300, but needs a number, at least 0"),
    "one minus nearly nothing": (
        ADAM + "one_minus_beta_1 = 1e-20",
        "(1 minus it must differ from 1)",
    ),
    "a schedule by Keras's name": (
        "[schedules.CosineDecayRestarts]\n" + ADAM,
        "unknown key (did you mean cosine_restarts?)",
    ),
    "initials": (
        ADAM + "lr = 0.1",
        "optimizers.adam.lr: unknown key (did you mean learning_rate?)",
    ),
    "a schedule that looks": (
        "[schedules.reduce_on_plateau]\n" + ADAM,
        "schedules.reduce_on_plateau: not supported: it looks at validation images, which also",
    ),
    "stopping early": ("[head]\nearly_stopping = true\n" + ADAM, "it would need a third set"),
    "unknown class": (
        '[optimizers.adam]\nclass = "Adm"',
        "class: received 'Adm' (did you mean Adam?), but needs a class of keras.optim",
    ),
    "a class of another module": (
        '[optimizers.adam]\nclass = "os:system"',
        "optimizers.adam.class: received 'os:system', but needs a class of keras.optimizers",
    ),
    "a class that cannot train a head": (
        '[optimizers.many]\nclass = "MultiOptimizer"',
        "optimizers.many.class: received 'MultiOptimizer', but needs a class",
    ),
    "class no text": ("[optimizers.adam]\nclass = [1]", "optimizers.adam.class: received [1]"),
    "unknown argument": (
        ADAM + "beta = 0.9",
        "optimizers.adam.beta: unknown key (did you mean beta_1?); valid: class, schedules",
    ),
    "an argument of another class": (
        '[optimizers.sgd]\nclass = "SGD"\nbeta_1 = 0.9',
        "optimizers.sgd.beta_1: unknown key; valid: class, schedules, learning_rate, momentum",
    ),
    "one minus a switch": (
        ADAM + "one_minus_amsgrad = true",
        "optimizers.adam.one_minus_amsgrad: unknown key (",
    ),
    "one minus what does not live between 0 and 1": (
        ADAM + "one_minus_clipnorm = 1.5",
        "optimizers.adam.one_minus_clipnorm: unknown key (did you mean clipnorm?); ",
    ),
    "one minus a decay": (
        ADAM + "one_minus_weight_decay = 2.0",
        "optimizers.adam.one_minus_weight_decay: unknown key (",
    ),
    "one minus FTRL's beta, which is no average": (
        '[optimizers.ftrl]\nclass = "Ftrl"\none_minus_beta = 0.5',
        "optimizers.ftrl.one_minus_beta: unknown key; valid: ",
    ),
    "an average that lets nothing new in": (
        ADAM + "beta_1 = 1.0",
        "optimizers.adam.beta_1: received 1.0, but needs a number from 0 to below 1",
    ),
    "a range that ends there": (
        ADAM + "beta_2 = {min = 0.9, max = 1.0}",
        "optimizers.adam.beta_2.max: received 1.0, but needs a number from 0 to below 1",
    ),
    "the same, turned round": (
        ADAM + "one_minus_beta_1 = 0.0",
        "optimizers.adam.one_minus_beta_1: received 0.0, but needs a number above 0, at most 1",
    ),
    "a range that begins there": (
        '[optimizers.rms]\nclass = "RMSprop"\none_minus_rho = {min = 0.0, max = 0.5}',
        "optimizers.rms.one_minus_rho.min: received 0.0, but needs a number above 0, at most 1",
    ),
    "one minus beside itself": (
        ADAM + "beta_1 = 0.9\none_minus_beta_1 = 0.1",
        "optimizers.adam.one_minus_beta_1: beta_1 is given, too; keep one of the two",
    ),
    "min above max": (
        ADAM + "learning_rate = {min = 0.1, max = 0.01}",
        "optimizers.adam.learning_rate: min must be below max, but received 0.1 and 0.01",
    ),
    "min equals max": (
        ADAM + "learning_rate = {min = 0.1, max = 0.1}",
        "optimizers.adam.learning_rate: min must be below max, but received 0.1 and 0.1",
    ),
    "log from zero": (
        ADAM + 'epsilon = {min = 0.0, max = 1.0, scale = "log"}',
        "optimizers.adam.epsilon.min: received 0.0, but a log scale needs min above 0",
    ),
    "no max": (ADAM + "learning_rate = {min = 0.1}", "learning_rate.max: missing; a range is"),
    "min no number": (
        ADAM + 'learning_rate = {min = "a", max = 1.0}',
        "optimizers.adam.learning_rate.min: received 'a', but needs a number",
    ),
    "unknown scale": (
        ADAM + 'learning_rate = {min = 0.1, max = 1.0, scale = "ln"}',
        "optimizers.adam.learning_rate.scale: received 'ln'; valid: linear, log",
    ),
    "unknown range key": (
        ADAM + "learning_rate = {min = 0.1, max = 1.0, step = 0.1}",
        "optimizers.adam.learning_rate.step: unknown key; valid: min, max, scale, default",
    ),
    "range and choices": (
        ADAM + "learning_rate = {min = 0.1, choices = [0.1]}",
        "optimizers.adam.learning_rate.min: unknown key; valid: choices, default",
    ),
    "no choices": (
        "[head]\ndense_width = {choices = []}\n" + ADAM,
        "head.dense_width.choices: received [], but needs a list of at least one value",
    ),
    "choices no list": (
        "[head]\ndense_width = {choices = 64}\n" + ADAM,
        "head.dense_width.choices: received 64, but needs a list",
    ),
    "a choice twice": (
        "[head]\ndense_width = {choices = [64, 128, 64]}\n" + ADAM,
        "head.dense_width.choices: received [64, 128, 64], but a value is listed twice",
    ),
    "a choice twice in other clothes": (
        ADAM + "learning_rate = {choices = [1, 1.0]}",
        "optimizers.adam.learning_rate.choices: received [1, 1.0], but a value is listed twice",
    ),
    "default outside the choices": (
        "[head]\ndense_width = {choices = [64, 128], default = 65}\n" + ADAM,
        "head.dense_width.default: received 65, but needs one of [64, 128]",
    ),
    "default outside the range": (
        ADAM + "learning_rate = {min = 0.1, max = 1.0, default = 2.0}",
        "optimizers.adam.learning_rate.default: received 2.0, but needs a number from 0.1 to 1.0",
    ),
    "default of another type": (
        "[head]\ndense_width = {min = 8, max = 64, default = 9.5}\n" + ADAM,
        "head.dense_width.default: received 9.5, but needs a whole number of units",
    ),
    "true is not one": (
        "[head]\ndense_width = {choices = [1, 2], default = true}\n" + ADAM,
        "head.dense_width.default: received True, but needs a whole number of units",
    ),
    "all dropped": (
        "[head]\ndropout = 1.0\n" + ADAM,
        "head.dropout: received 1.0, but needs a number from 0 to below 1",
    ),
    "all dropped at the end of a range": (
        "[head]\ndropout = {min = 0.0, max = 1.0}\n" + ADAM,
        "head.dropout.max: received 1.0, but needs a number from 0 to below 1",
    ),
    "no rows": (
        "[head]\nbatch_size = 0\n" + ADAM,
        'head.batch_size: received 0, but needs a whole number of rows, or "full"',
    ),
    "half a row": ("[head]\nbatch_size = 1.5\n" + ADAM, "head.batch_size: received 1.5, but need"),
    "too wide": (
        "[head]\ndense_width = 100000000\n" + ADAM,
        "head.dense_width: received 100000000, but needs a whole number of units, 1 to 65,536",
    ),
    "unknown activation": (
        '[head]\nactivation = "relux"\n' + ADAM,
        "head.activation: received 'relux', but needs one of relu, elu",
    ),
    "no switch": (
        '[head]\nbatch_norm = "yes"\n' + ADAM,
        "head.batch_norm: received 'yes', but needs true or false",
    ),
    "unknown weights": (
        '[head]\nclass_weight = "balance"\n' + ADAM,
        "head.class_weight: received 'balance', but needs one of none, balanced",
    ),
    "weights of one's own": (
        "[head]\nclass_weight = {choices = [1.0, 2.0]}\n" + ADAM,
        "head.class_weight.choices: received 1.0, but needs one of none, balanced",
    ),
    "all smooth": (
        "[head]\nlabel_smoothing = 1\n" + ADAM,
        "head.label_smoothing: received 1, but needs a number from 0 to below 1",
    ),
    "sharpened": (
        "[head]\nlabel_smoothing = {min = -0.1, max = 0.1}\n" + ADAM,
        "head.label_smoothing.min: received -0.1, but needs a number from 0 to below 1",
    ),
    "a date": ("[head]\ndropout = 2020-01-01\n" + ADAM, "head.dropout: received datetime.date("),
    "not a number": (ADAM + "learning_rate = nan", "received nan, but needs a number above 0"),
    "infinite": (ADAM + "learning_rate = inf", "received inf, but needs a number above 0"),
    "no step": (ADAM + "learning_rate = 0", "received 0, but needs a number above 0"),
    "uphill": (ADAM + "learning_rate = -0.1", "received -0.1, but needs a number above 0"),
    "beyond floats": (ADAM + f"learning_rate = 1{'0' * 400}", "but needs a number above 0"),
    "beyond digits": (ADAM + f"learning_rate = 1{'0' * 5000}", "not valid TOML: "),
    "beyond printing": (
        ADAM + f"learning_rate = 0x1{'0' * 5000}",
        "optimizers.adam.learning_rate: received a number of thousands of digits, but needs",
    ),
    "momentum 2": (
        '[optimizers.sgd]\nclass = "SGD"\nmomentum = 2',
        "optimizers.sgd.momentum: received 2, but needs a number from 0 to below 1",
    ),
    "momentum up to 2": (
        '[optimizers.sgd]\nclass = "SGD"\nmomentum = {min = 0.1, max = 2}',
        "optimizers.sgd.momentum.max: received 2, but needs a number from 0 to below 1",
    ),
    "negative epsilon": (ADAM + "epsilon = -1e-8", "received -1e-08, but needs a number, at least"),
    "refused by Keras itself": (
        '[optimizers.ftrl]\nclass = "Ftrl"\nlearning_rate_power = 1.0',
        "optimizers.ftrl.learning_rate_power: 1.0 is refused by Ftrl: `learning_rate_power`",
    ),
    "refused by Keras together": (
        ADAM + "clipnorm = 1.0\nclipvalue = 1.0",
        "optimizers.adam: refused by Adam: Only one of",
    ),
    "a schedule not in the file": (
        ADAM + 'schedules = ["cosine"]',
        "optimizers.adam.schedules: received ['cosine'], but needs a list of this file's schedules",
    ),
    "no schedule": (ADAM + "schedules = []", "optimizers.adam.schedules: received [], but needs"),
    "schedules no list": (ADAM + 'schedules = "constant"', "schedules: received 'constant', but"),
    "schedules a list of lists": (ADAM + "schedules = [[1]]", "schedules: received [[1]], but nee"),
    "a schedule twice": (ADAM + 'schedules = ["constant", "constant"]', "schedules: received ['c"),
    "half of a decay in steps": (
        "[schedules.exponential]\ndecay_steps = 60\n" + ADAM,
        "schedules.exponential: decay_steps: give either final_factor, or decay_steps together",
    ),
    "two decays": (
        "[schedules.exponential]\ndecay_steps = 60\ndecay_rate = 0.9\nfinal_factor = 0.1\n" + ADAM,
        "schedules.exponential: decay_rate, decay_steps, final_factor: give either",
    ),
    "a thousand million drops": (
        "[schedules.steps]\ndrops = 1000000000\n" + ADAM,
        "schedules.steps.drops: received 1000000000, but needs a whole number of drops, 1 to 100",
    ),
    "duplicate keys": (ADAM + "epsilon = 1\nepsilon = 1", "not valid TOML: Cannot overwrite"),
    "not TOML": ("{", "not valid TOML: Invalid statement"),
    "not UTF-8": (b"\xff\xfe", "not valid TOML: 'utf-8' codec can't decode"),
    "nested too deeply": ("a = " + "[" * 50_000, "not valid TOML: nested too deeply"),
    "dotted too deeply": (
        "head.dense_width.choices." + "a." * 100 + "a = 1\n" + ADAM,
        "head.dense_width.choices: received {'a': {'a': {'a': {...}}}}, but needs a list",
    ),
    "dotted far too deeply": (
        "head." + "a." * 40_000 + "a = 1\n" + ADAM,
        "not valid TOML: nested too deeply",
    ),
    "10 MB": ("#" * 10_000_000, f"larger than {MAX_FILE_BYTES:,} bytes, so not a search space"),
    "head no table": ("head = 1\n" + ADAM, "head: received 1, but needs a table"),
    "optimizer no table": ("optimizers.adam = 1", "optimizers.adam: received 1, but needs a table"),
    "optimizers no table": ("optimizers = [1]", "optimizers: received [1], but needs a table"),
    "a long value": (
        f'[head]\nactivation = "{"x" * 50_000}"\n' + ADAM,
        "head.activation: received 'xxxxxxxx",
    ),
    "a long key": (f'[head]\n"{"x" * 50_000}" = 1\n' + ADAM, "head.'xxxxxxxx"),
    "a key with a line break": ('[head]\n"a\\nb" = 1\n' + ADAM, "head.'a\\nb': unknown key"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_wrong_file_is_refused_with_key_value_and_what_is_valid(what: str, tmp_path: Path):
    text, expected = REFUSALS[what]
    assert expected in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "../x", "a.b", "a/b", "-x", "_x", "a\\n", "<b>", "é", "x" * 41, "\\u202e", "a,b"],
)
def test_an_optimizer_name_with_odd_characters_is_refused(name: str, tmp_path: Path):
    sentence = refusal(tmp_path, f'[optimizers."{name}"]\nclass = "Adam"')
    assert "not a valid name; it consists of letters a to z, digits, _ and -" in sentence


@pytest.mark.parametrize("name", ["joint", "winner", "Winner", "predictions", "report", "search"])
def test_an_optimizer_name_that_means_something_else_is_refused(name: str, tmp_path: Path):
    sentence = refusal(tmp_path, f'[optimizers.{name}]\nclass = "Adam"')
    assert f"optimizers.'{name}': this name is taken; not available: joint, winner" in sentence


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path):
    sentence = refusal(tmp_path, ADAM + '[optimizers.Adam]\nclass = "Adam"')
    assert sentence == "optimizers.'Adam': differs from adam only in case; files would collide"


def test_a_path_that_is_no_file_is_refused(tmp_path: Path):
    for path in (str(tmp_path), str(tmp_path / "none.toml"), "x" * 5000, "a\0b"):
        with pytest.raises(UserError, match="valid names: blog_t11, default, quick, or the path"):
            load_space(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_cannot_be_read_is_refused():
    with pytest.raises(UserError, match=r"/proc/self/mem: cannot be read \(Input/output error\)"):
        load_space("/proc/self/mem")


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path):
    path = write(
        tmp_path, b"\xef\xbb\xbf" + (ADAM + "epsilon = 1e-5\n").replace("\n", "\r\n").encode()
    )
    assert load_space(path).default("adam").optimizer_hyperparameters == {"epsilon": 1e-5}


def test_restrict_names_what_is_valid():
    space = load_space("quick")
    assert list(space.restrict(["sgd", " adam "]).optimizers) == ["sgd", "adam"]
    for names in (["adm"], [""], []):
        with pytest.raises(UserError, match=r"`optimizers`: .*sgd, momentum"):
            space.restrict(names)


# ---- fuzz: only a UserError or a valid space ----


def toml(value: object) -> str:
    """A value as TOML, nested tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return hex(value) if value > 10**20 else str(value)
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    assert isinstance(value, dict)
    return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"


def usable(space: SearchSpace) -> None:
    """A space that was accepted can be declared, drawn from, resolved and built."""
    for name in space.optimizers:
        check(space, space.default(name))
        for values in samples(space, name, 3, seed=1):
            check(space, space.resolve(values))
    assert len(space.fingerprint) == 16


def check(space: SearchSpace, config: HeadConfig) -> None:
    rates = learning_rates(config, 20)
    assert rates.shape == (20,)
    make_optimizer(config, 0.01)
    assert config.hyperparameters()["schedule"] in space.schedules


def samples(space: SearchSpace, optimizer: str | None, count: int, *, seed: int) -> list[dict]:
    """Random values, as Keras Tuner's oracles draw them."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        hp = keras_tuner.HyperParameters()
        space.declare(hp, optimizer)
        for part in hp.space:
            if hp.is_active(part):
                hp.values[part.name] = part.random_sample(int(rng.integers(1, 2**31)))
        hp.ensure_active_values()
        found.append(dict(hp.values))
    return found


def texts() -> st.SearchStrategy[str]:
    surrogates = st.characters(codec="utf-8", exclude_characters="\0")
    return st.text(surrogates, max_size=6)


def numbers() -> st.SearchStrategy[object]:
    return st.one_of(
        st.integers(-2, 600),
        st.integers(),
        st.floats(),
        st.sampled_from([0.0, 1e-8, 0.5, 1.0, 1e-320, 1e30, 10**400, "full", True]),
    )


def domains() -> st.SearchStrategy[object]:
    odd = st.one_of(numbers(), texts(), st.lists(numbers(), max_size=3))
    return st.one_of(
        numbers(),
        texts(),
        st.fixed_dictionaries(
            {"min": numbers(), "max": numbers()},
            optional={"scale": st.sampled_from(["log", "linear", "x", 1]), "default": numbers()},
        ),
        st.fixed_dictionaries(
            {"choices": st.lists(numbers(), max_size=4)}, optional={"default": numbers()}
        ),
        st.dictionaries(texts(), odd, max_size=2),
    )


HEADS = ("dense_width", "dropout", "activation", "batch_norm", "batch_size", "normalize", "oops")
HEADS += ("class_weight", "label_smoothing")
HYPERPARAMETERS = (
    "learning_rate", "momentum", "one_minus_momentum", "beta_1", "one_minus_beta_2", "epsilon",
    "rho", "weight_decay", "clipnorm", "nesterov", "amsgrad", "schedules", "ns_steps", "oops",
)  # fmt: skip
SCHEDULES = (
    "constant",
    "exponential",
    "cosine",
    "steps",
    "polynomial",
    "inverse_time",
    "oops",
    "cosine_restarts",
)
SCHEDULE_KEYS = (
    "final_factor", "warmup", "staircase", "drops", "power", "decay_steps", "decay_rate",
    "restarts", "period_factor", "peak_factor"
)  # fmt: skip


def optimizer_tables() -> st.SearchStrategy[object]:
    classes = st.sampled_from([*ANY_OPTIMIZERS, "os:system", 3])
    hyperparameters = st.dictionaries(st.sampled_from(HYPERPARAMETERS), domains(), max_size=3)
    return st.builds(lambda name, more: {"class": name, **more}, classes, hyperparameters)


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(
    head=st.dictionaries(st.sampled_from(HEADS), domains(), max_size=2),
    schedules=st.dictionaries(
        st.sampled_from(SCHEDULES),
        st.dictionaries(st.sampled_from(SCHEDULE_KEYS), domains(), max_size=2),
        max_size=2,
    ),
    optimizers=st.dictionaries(
        st.one_of(st.sampled_from(["adam", "sgd", "joint"]), texts()),
        optimizer_tables(),
        max_size=2,
    ),
)
def test_any_table_is_a_valid_space_or_a_user_error(
    tmp_path_factory, head: object, schedules: object, optimizers: object
):
    text = f"head = {toml(head)}\nschedules = {toml(schedules)}\noptimizers = {toml(optimizers)}\n"
    load_or_refuse(tmp_path_factory.mktemp("fuzz", numbered=True), text.encode())


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from([*"[]{}=.,\"'#\n\r\t-+:_ 019eExoTZ", ADAM, "head", "choices", "nan"]),
            max_size=30,
        ).map(lambda parts: "".join(parts).encode()),
    )
)
def test_any_bytes_are_a_valid_space_or_a_user_error(tmp_path_factory, data: bytes):
    load_or_refuse(tmp_path_factory.mktemp("fuzz", numbered=True), data)


def load_or_refuse(folder: Path, data: bytes) -> None:
    path = write(folder, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            space = load_space(path)
        except UserError:
            return
        usable(space)


# ---- the spaces that come with the study ----

RANGES = {  # learning rate, others: the literature's, by the sampled quantity
    "sgd": ((1e-4, 10.0), {}),
    "momentum": ((1e-4, 5.0), {"one_minus_momentum": (5e-3, 0.3)}),
    "nesterov": ((1e-4, 5.0), {"one_minus_momentum": (5e-3, 0.3)}),
    "adagrad": ((1e-4, 1.0), {"initial_accumulator_value": (1e-8, 1.0)}),
    "adadelta": ((1e-2, 10.0), {"one_minus_rho": (1e-3, 0.5), "epsilon": (1e-8, 1e-4)}),
    "rmsprop": ((1e-5, 1e-1), {"one_minus_rho": (1e-3, 0.5), "epsilon": (1e-10, 1.0)}),
    "lion": ((1e-6, 1e-2), {"one_minus_beta_1": (0.02, 0.5), "one_minus_beta_2": (1e-3, 0.1)}),
}
ADAMS = {"one_minus_beta_1": (4e-3, 0.5), "one_minus_beta_2": (1e-4, 0.2), "epsilon": (1e-8, 1.0)}
RANGES |= dict.fromkeys(("adam", "amsgrad", "nadam", "adamax"), ((1e-05, 0.1), ADAMS))
RANGES["adamw"] = ((1e-5, 1e-1), {**ADAMS, "weight_decay": (1e-5, 1.0)})


def test_the_default_space_has_the_12_optimizers_with_their_ranges():
    space = load_space("default")
    assert set(space.optimizers) == set(RANGES)
    for name, (rate, hyperparameters) in RANGES.items():
        found = space.optimizers[name]
        assert (found.learning_rate.low, found.learning_rate.high) == rate, name
        ranges = {key: d for key, d in found.hyperparameters.items() if not d.fixed}
        assert {key: (d.low, d.high) for key, d in ranges.items()} == hyperparameters, name
        assert all(d.log for d in [found.learning_rate, *ranges.values()])


@pytest.mark.parametrize("name", ["default", "quick", "blog_t11"])
def test_every_space_that_comes_with_the_study_is_usable(name: str):
    usable(load_space(name))


def test_quick_tunes_only_the_learning_rate_of_the_same_12():
    space = load_space("quick")
    assert set(space.optimizers) == set(RANGES)
    for name, found in space.optimizers.items():
        assert (found.learning_rate.low, found.learning_rate.high) == RANGES[name][0]
        assert all(
            domain.fixed for domain in [*found.hyperparameters.values(), *space.head.values()]
        )


def test_the_blog_space_is_three_fixed_configurations():
    space = load_space("blog_t11")
    assert [space.points(name) for name in space.optimizers] == [1, 1, 1]
    adam, sgd, staircase = (space.default(name) for name in space.optimizers)
    assert (adam.keras_class, adam.learning_rate, adam.schedule) == ("Adam", 1e-3, "constant")
    assert (sgd.keras_class, sgd.learning_rate, sgd.schedule) == ("SGD", 1e-2, "constant")
    assert (staircase.learning_rate, staircase.schedule) == (1e-4, "exponential")
    head = (adam.dense_width, adam.dropout, adam.activation, adam.batch_norm, adam.batch_size)
    assert head == (170, 0.5, "relu", True, 16)


# ---- declaring and resolving ----


@pytest.mark.parametrize("optimizer", [None, *RANGES])
def test_random_values_resolve_to_a_configuration_inside_the_ranges(optimizer: str | None):
    space = load_space("default")
    for values in samples(space, optimizer, 20, seed=2):
        config = space.resolve(values)
        rate, hyperparameters = RANGES[config.optimizer]
        assert rate[0] <= config.learning_rate <= rate[1]
        for key, (low, high) in hyperparameters.items():
            argument = key.removeprefix("one_minus_")
            value = float(config.optimizer_hyperparameters[argument])
            assert low <= (1 - value if key != argument else value) * (1 + 1e-6), key
            assert (1 - value if key != argument else value) <= high * (1 + 1e-6), key
        assert set(config.schedule_hyperparameters) == set(space.schedules[config.schedule])
        written = json.loads(json.dumps(config.hyperparameters()))
        assert space.recorded(config.optimizer, written) == config


@pytest.mark.parametrize("name", ["default", "quick", "blog_t11"])
def test_declared_names_are_unique(name: str):
    hp = keras_tuner.HyperParameters()
    load_space(name).declare(hp)
    names = [part.name for part in hp.space]
    assert len(names) == len(set(names))


def test_one_minus_is_sampled_on_its_own_scale(tmp_path: Path):
    scale = '{min = 1e-3, max = 1e-1, scale = "log"}'
    space = load_space(write(tmp_path, ADAM + f"one_minus_beta_1 = {scale}"))
    drawn = [
        space.resolve(v).optimizer_hyperparameters["beta_1"]
        for v in samples(space, "adam", 400, seed=3)
    ]
    assert 0.9 <= min(drawn) < max(drawn) <= 0.999
    assert abs(np.mean([1 - float(value) < 1e-2 for value in drawn]) - 0.5) < 0.1


def test_numbers_and_full_mix_as_batch_sizes(tmp_path: Path):
    text = '[head]\nbatch_size = {choices = [1, 16, "full"], default = 16}\n' + ADAM
    space = load_space(write(tmp_path, text))
    assert space.default("adam").batch_size == 16
    drawn = {space.resolve(v).batch_size for v in samples(space, "adam", 40, seed=4)}
    assert drawn == {1, 16, "full"}


def test_switches_and_whole_numbers_keep_their_type(tmp_path: Path):
    text = (
        "[head]\nbatch_norm = {choices = [true, false]}\n"
        'dense_width = {min = 8, max = 64, scale = "log"}\n'
        + ADAM
        + "amsgrad = {choices = [true, false]}"
    )
    space = load_space(write(tmp_path, text))
    for values in samples(space, "adam", 20, seed=5):
        config = space.resolve(values)
        assert type(config.batch_norm) is type(config.optimizer_hyperparameters["amsgrad"]) is bool
        assert type(config.dense_width) is int and 8 <= config.dense_width <= 64


@pytest.mark.parametrize("optimizer", [None, "adam", "sgd"])
def test_an_optimizer_may_name_its_own_schedules(optimizer: str | None, tmp_path: Path):
    text = (
        "[schedules.constant]\n[schedules.cosine]\n[schedules.linear]\n"
        f'{ADAM}schedules = ["cosine"]\n[optimizers.sgd]\nclass = "SGD"\n'
        '[optimizers.lion]\nclass = "Lion"\nschedules = ["linear", "constant"]\n'
    )
    space = load_space(write(tmp_path, text))
    allowed = {"adam": {"cosine"}, "sgd": set(space.schedules), "lion": {"linear", "constant"}}
    seen: dict[str, set[str]] = {}
    for values in samples(space, optimizer, 200, seed=6):
        config = space.resolve(values)
        seen.setdefault(config.optimizer, set()).add(config.schedule)
    assert seen == (allowed if optimizer is None else {optimizer: allowed[optimizer]})
    assert space.points("lion") == 2
    assert space.default("lion").schedule == "constant"
    assert space.default("adam").schedule == "cosine"


@pytest.mark.parametrize("keras_class", ANY_OPTIMIZERS)
def test_the_default_is_what_keras_gives(keras_class: str, tmp_path: Path):
    arguments = keras_arguments(keras_class)
    tuned = {
        key: "{min = 0.001, max = 0.9}"
        for key in ("momentum", "beta_1", "one_minus_beta_2", "rho", "epsilon")
        if key.removeprefix("one_minus_") in arguments
    }
    tuned["learning_rate"] = '{min = 1e-6, max = 10.0, scale = "log"}'
    lines = "".join(f"{key} = {value}\n" for key, value in tuned.items())
    space = load_space(write(tmp_path, f'[optimizers.x]\nclass = "{keras_class}"\n{lines}'))
    config = space.default("x")
    ours = make_optimizer(config, config.learning_rate).get_config()
    keras_own = getattr(keras.optimizers, keras_class)().get_config()
    for key, value in keras_own.items():
        if isinstance(value, float):
            assert math.isclose(ours[key], value, rel_tol=1e-6), key
        elif key != "name":
            assert ours[key] == value, key


def test_the_defaults_of_the_12_are_keras_defaults_and_textbook_momentum():
    space = load_space("default")
    found = {name: space.default(name) for name in space.optimizers}
    assert {c.learning_rate for n, c in found.items() if "m" not in n[:1]} <= {1e-2, 1e-3}
    assert math.isclose(float(found["momentum"].optimizer_hyperparameters["momentum"]), 0.9)
    assert found["nesterov"].optimizer_hyperparameters["nesterov"] is True
    assert found["amsgrad"].optimizer_hyperparameters["amsgrad"] is True
    assert all(config.schedule == "constant" for config in found.values())


# ---- stock Keras Tuner ----


@pytest.fixture
def tiny() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few rows; a few steps on them cost less than the compilation of each trial's program."""
    tf.config.run_functions_eagerly(True)
    rng = np.random.default_rng(0)
    yield rng.normal(size=(24, 8)).astype("float32"), rng.integers(0, 3, 24).astype("int32")
    tf.config.run_functions_eagerly(False)


def hypermodel(space: SearchSpace, optimizer: str | None) -> HeadHyperModel:
    return HeadHyperModel(
        space, n_features=8, n_classes=3, n_train=24, max_epochs=2, seed=1, optimizer=optimizer
    )


@KERAS_TUNER_ASKS_THREADS_FOR_NAMES
def test_stock_hyperband_runs_with_it(tiny, tmp_path: Path):
    tuner = keras_tuner.Hyperband(
        hypermodel(load_space("default"), None),
        objective="val_accuracy",
        max_epochs=2,
        factor=2,
        seed=1,
        directory=str(tmp_path),
        overwrite=True,
    )
    tuner.search(*tiny, validation_data=tiny, verbose=0)
    trials = tuner.oracle.get_best_trials(100)
    assert len(trials) >= 3
    assert all(trial.status == "COMPLETED" for trial in trials)


@pytest.mark.slow  # Hyperband runs always
@KERAS_TUNER_ASKS_THREADS_FOR_NAMES
def test_stock_grid_search_visits_every_configuration(tiny, tmp_path: Path):
    text = (
        "[head]\ndense_width = 4\nbatch_size = 8\n"
        f'{ADAM}[optimizers.sgd]\nclass = "SGD"\nmomentum = {{choices = [0.0, 0.9]}}\n'
    )
    space = load_space(write(tmp_path, text))
    tuner = keras_tuner.GridSearch(
        hypermodel(space, None), objective="val_accuracy", directory=str(tmp_path / "kt")
    )
    tuner.search(*tiny, validation_data=tiny, epochs=1, verbose=0)
    trials = tuner.oracle.trials.values()
    configs = {str(space.resolve(trial.hyperparameters.values)) for trial in trials}
    expected = sum(space.points(name) for name in space.optimizers)
    assert (len(trials), len(configs), expected) == (3, 3, 3)


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        ("", {}),
        ('class_weight = "none"\nlabel_smoothing = 0\n', {}),
        ('class_weight = "balanced"\n', {"class_weight": "balanced"}),
        ("label_smoothing = 0.1\n", {"label_smoothing": 0.1}),
        ('class_weight = {choices = ["none", "balanced"]}\n', {"class_weight": "none"}),
        ("label_smoothing = {min = 0, max = 0.2, default = 0}\n", {"label_smoothing": 0.0}),
    ],
)
def test_a_loss_left_as_it_is_is_no_hyperparameter(
    head: str, declared: dict[str, object], tmp_path: Path
):
    """Else the proposals and records of spaces that do not name it would be others."""
    space = load_space(write(tmp_path, f"[head]\n{head}{ADAM}"))
    hp = keras_tuner.HyperParameters()
    space.declare(hp)
    config, keys = space.resolve(hp.values), {"class_weight", "label_smoothing"}
    assert keys & hp.values.keys() == keys & config.hyperparameters().keys() == declared.keys()
    assert {key: config.hyperparameters()[key] for key in declared} == declared
    assert config == space.default("adam")


def test_every_optimizer_of_keras_has_an_entry():
    """A class that a newer Keras brings is one line in the table."""
    found = {
        name
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type)
        and issubclass(value, keras.optimizers.Optimizer)
        and "learning_rate" in inspect.signature(value).parameters
    }
    assert found - {"Optimizer", "LossScaleOptimizer"} == set(keras_optimizers())
    assert set(keras_optimizers()) <= set(OPTIMIZERS)


def test_the_largest_beta_of_ftrl_is_not_1(tmp_path: Path):
    table = '[optimizers.ftrl]\nclass = "Ftrl"\nbeta = 1.5\n'
    config = load_space(write(tmp_path, table)).default("ftrl")
    assert config.optimizer_hyperparameters == {"beta": 1.5}
