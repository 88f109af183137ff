"""Every base of `keras.applications` and a user's own: what goes in, what comes out, what it says.

A family is tested with its smallest member at its smallest size; `-m slow` builds all forty.
"""

import inspect
import io
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from study.common.bases import BASES, NONE, PREPROCESS, named_base, preprocess_of
from study.common.errors import UserError
from study.common.tensorflow import load_model
from study.data.load_images import load_images
from study.data.pixels.decoding import decode
from study.features.backbone import Backbone, in_float32, load_backbone
from study.features.device import pick_device
from study.features.extract import extract_features
from study.features.frozen import prepared
from study.features.keras_archive import input_size
from study.machines.here import Here
from study.search.command_line import parse, resolve_options
from study.search.image_subject import ImageSubject

FAMILIES = {
    "VGG19": 512, "ResNet50": 2048, "ResNet50V2": 2048, "DenseNet121": 1024, "MobileNet": 1024,
    "MobileNetV2": 1280, "MobileNetV3Small": 576, "EfficientNetB0": 1280, "EfficientNetV2B0": 1280,
    "ConvNeXtTiny": 768, "InceptionV3": 2048, "InceptionResNetV2": 1536, "Xception": 2048,
    "NASNetMobile": 1056,
}  # fmt: skip
EVERY_PIXEL = np.stack([np.arange(256.0)] * 3, axis=-1, dtype=np.float32).reshape(1, 16, 16, 3)


def of_keras(name: str) -> Callable[..., keras.Model]:
    return getattr(keras.applications, name)


@cache
def smallest(name: str) -> Backbone:
    """Nobody changes it."""
    return load_backbone("random", base=name, image_size=named_base(name).smallest)


def some_pixels(size: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, size, size, 3)).astype(np.float32)


# the table


def test_the_table_is_what_keras_has():
    models = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(BASES) == models
    assert {base.module for base in BASES.values()} == {BASES[name].module for name in FAMILIES} | {
        "vgg16"
    }


@pytest.mark.parametrize("name", BASES)
def test_the_preprocessing_in_the_table_is_the_one_of_the_models_module(name: str):
    module = getattr(keras.applications, BASES[name].module)
    # the module that Keras names for this model, by the file that both come from
    assert inspect.getsourcefile(module.preprocess_input) == inspect.getsourcefile(of_keras(name))
    found = module.preprocess_input(EVERY_PIXEL.copy())
    if BASES[name].preprocess == NONE:
        np.testing.assert_array_equal(found, EVERY_PIXEL)
    else:
        mode = keras.applications.imagenet_utils.preprocess_input
        wanted = mode(EVERY_PIXEL.copy(), mode=BASES[name].preprocess)
        np.testing.assert_array_equal(found, wanted)


# pixels


@pytest.mark.parametrize("name", FAMILIES)
def test_every_pixel_is_prepared_as_keras_does_it_to_the_last_bit(name: str, tmp_path: Path):
    """As numbers, in the compiled graph that features are computed with, and after saving."""
    module = getattr(keras.applications, BASES[name].module)
    wanted = module.preprocess_input(EVERY_PIXEL.copy())
    pixels = keras.Input((16, 16, 3))
    ready = keras.Model(pixels, prepared(pixels, BASES[name].preprocess))
    compiled = tf.function(lambda values: ready(values, training=False))
    ready.save(tmp_path / "ready.keras")
    again = keras.models.load_model(tmp_path / "ready.keras", safe_mode=True)
    for found in (ready(EVERY_PIXEL), compiled(tf.constant(EVERY_PIXEL)), again(EVERY_PIXEL)):
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(np.asarray(found), wanted)


def test_any_pixel_is_prepared_as_keras_does_it_to_the_last_bit():
    values = np.random.default_rng(5).uniform(0, 255, (8, 64, 64, 3)).astype(np.float32)
    for mode in ("caffe", "tf", "torch"):
        wanted = keras.applications.imagenet_utils.preprocess_input(values.copy(), mode=mode)
        pixels = keras.Input((64, 64, 3))
        ready = keras.Model(pixels, prepared(pixels, mode))
        found = tf.function(lambda given, model=ready: model(given))(tf.constant(values))
        np.testing.assert_array_equal(np.asarray(found), wanted, err_msg=mode)


# networks


def slow_but(*fast: str) -> list[Any]:
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]


@pytest.mark.parametrize("name", slow_but("MobileNetV2", "ConvNeXtTiny", "DenseNet121"))
def test_a_base_is_keras_network_behind_its_preprocessing(name: str):
    found = smallest(name)
    assert (found.width, found.dtype, found.source) == (FAMILIES[name], "float32", "random")
    assert not found.model.trainable_variables
    (network,) = (layer for layer in found.model.layers if isinstance(layer, keras.Model))
    pixels = some_pixels(found.size)
    ready = getattr(keras.applications, BASES[name].module).preprocess_input(pixels.copy())
    given = np.asarray(found.model(pixels))
    np.testing.assert_array_equal(given, network(ready, training=False))
    assert np.isfinite(given).all() and np.abs(given[0] - given[1]).max() > 0


@pytest.mark.parametrize("name", slow_but("MobileNetV2"))
def test_a_base_is_saved_and_loaded_in_safe_mode(name: str, tmp_path: Path):
    found, pixels = smallest(name), some_pixels(named_base(name).smallest)
    in_float32(found).save(tmp_path / "taken.keras")
    taken = keras.models.load_model(tmp_path / "taken.keras", safe_mode=True)
    np.testing.assert_array_equal(taken(pixels), found.model(pixels))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_the_smallest_size_is_the_smallest_that_keras_takes(name: str):
    size = named_base(name).smallest
    with pytest.raises(ValueError, match="at least"):
        of_keras(name)(include_top=False, weights=None, input_shape=(size - 1, size - 1, 3))
    bare = of_keras(name)(include_top=False, weights=None, input_shape=(size, size, 3))
    assert None not in bare.output_shape[1:] and min(bare.output_shape[1:]) >= 1


def test_training_on_leaves_the_statistics_of_a_base_alone():
    model = smallest("MobileNetV2").model
    pixels = some_pixels(32)
    np.testing.assert_array_equal(model(pixels, training=True), model(pixels, training=False))


def test_every_base_has_a_digest_of_its_own():
    digests = {smallest(name).digest for name in ("MobileNet", "MobileNetV2", "VGG16")}
    assert len(digests) == 3
    again = load_backbone("random", base="MobileNet", image_size=48, preprocess="rescale")
    assert again.digest in digests  # the same every time, and at every size


def test_only_vgg16_is_computed_in_the_devices_arithmetic():
    dtype = load_backbone("random", base="VGG16", image_size=32).dtype
    assert dtype == pick_device(None).dtype
    short = load_backbone("random", base="MobileNet", image_size=32, dtype="bfloat16")
    assert short.dtype == "float32"


# weights


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and an empty folder in the place of Keras's downloads."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_a_base_without_weights_says_which_file_goes_where(
    no_network: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(UserError) as caught:
        load_backbone("auto", base="MobileNetV2", image_size=96)
    sentence = str(caught.value)
    assert sentence.startswith("no MobileNetV2 weights: Keras could not load its own (URL fetch")
    assert "_kernels_1.0_96_no_top.h5" in sentence  # those of this size
    assert f"put that file into {no_network} (" in sentence and "`weights` a file" in sentence


def test_a_damaged_download_of_keras_is_one_sentence(no_network: Path):
    (no_network / "mobilenet_1_0_224_tf_no_top.h5").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"no MobileNet weights: .*\(delete a damaged one there"):
        load_backbone("auto", base="MobileNet", image_size=64)


def test_weights_of_keras_are_found_in_its_cache(no_network: Path):
    wanted = smallest("MobileNet")
    bare = of_keras("MobileNet")(include_top=False, weights=None, input_shape=(32, 32, 3))
    bare.set_weights(wanted.model.get_weights())
    bare.save(no_network / "mobilenet_1_0_160_tf_no_top.h5")  # those of this size
    found = load_backbone("auto", base="MobileNet", image_size=160)
    assert (found.digest, found.source) == (wanted.digest, "Keras's ImageNet weights")


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_a_weights_file_of_the_base_gives_its_weights(name: str, tmp_path: Path):
    wanted = smallest("MobileNet")
    bare = of_keras("MobileNet")(include_top=False, weights=None, input_shape=(32, 32, 3))
    bare.set_weights(wanted.model.get_weights())
    (bare.save_weights if ".weights." in name else bare.save)(tmp_path / name)
    found = load_backbone(str(tmp_path / name), base="MobileNet", image_size=48)
    assert (found.digest, found.source) == (wanted.digest, f"file {tmp_path / name}")


def test_a_weights_file_of_another_network_is_refused(tmp_path: Path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(
        UserError, match=r"other\.weights\.h5 does not fit MobileNet without its top"
    ):
        load_backbone(str(tmp_path / "other.weights.h5"), base="MobileNet", image_size=32)
    with pytest.raises(UserError, match=r"`weights` no\.h5: no such file"):
        load_backbone("no.h5", base="MobileNet", image_size=32)


def test_options_that_a_base_does_not_take_are_refused():
    for arguments, sentence in (
        ({"base": "Xception", "image_size": 70}, "`image_size` 70: Xception needs at least 71"),
        ({"base": "resnet50", "image_size": 70}, r"resnet50: not a model .*mean ResNet50\?"),
        (
            {"base": "CLIP", "image_size": 70},
            "CLIP: not a model of keras.applications; valid: VGG16",
        ),
        ({"base": "ResNet50", "image_size": 70, "preprocess": "tf"}, "ResNet50 takes caffe or res"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_backbone("random", **arguments)


# a network of the user's


def small_network(**more: Any) -> keras.Model:
    """A convolution over images of 24 pixels, a map of 3 x 3 x 5."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.Conv2D(4, 3, 2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Conv2D(5, 3, 4),
            *more.get("end", ()),
        ]
    )


def saved(folder: Path, network: keras.Model, name: str = "own.keras") -> str:
    network.save(folder / name)
    return str(folder / name)


def own(base: str, *, size: int = 24, preprocess: str = "tf") -> Backbone:
    return load_backbone("auto", base=base, image_size=size, preprocess=preprocess)


@pytest.mark.parametrize("preprocess", PREPROCESS)
@pytest.mark.parametrize("end", [(), (keras.layers.Flatten,)], ids=["map", "vector"])
def test_a_network_of_the_users_is_a_base(tmp_path: Path, preprocess: str, end: tuple[Any, ...]):
    network = small_network(end=[make() for make in end])
    found = own(saved(tmp_path, network), preprocess=preprocess)
    assert found.width == (45 if end else 5) and found.from_map == (not end)
    assert not found.model.trainable_variables and found.source == "file own.keras"
    pixels = some_pixels(24)
    ready = pixels / np.float32(255) if preprocess == "rescale" else pixels
    if preprocess in ("caffe", "tf", "torch"):
        mode = keras.applications.imagenet_utils.preprocess_input
        ready = mode(pixels.copy(), mode=preprocess)
    wanted = np.asarray(network(ready, training=False))
    wanted = wanted if end else wanted.mean(axis=(1, 2))
    for given in (found.model(pixels), found.model(pixels, training=False)):
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-4)


def test_the_digest_of_an_own_network_knows_weights_and_architecture(tmp_path: Path):
    network = small_network()
    first = own(saved(tmp_path, network)).digest
    assert own(saved(tmp_path, network, "copy.keras")).digest == first
    network.compile("sgd", "mse")  # how it would be trained on changes no feature
    assert own(saved(tmp_path, network, "compiled.keras")).digest == first
    network.layers[0].activation = keras.activations.tanh
    assert own(saved(tmp_path, network, "tanh.keras")).digest != first
    network.layers[0].activation = keras.activations.relu
    network.layers[0].bias.assign_add(np.ones(4))
    assert own(saved(tmp_path, network, "moved.keras")).digest != first


def test_a_winner_never_gets_another_base_than_its_rows_had(tmp_path: Path, picture_folder: Path):
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(5, 3, 4)])
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    base = saved(tmp_path, network)
    given = ["--data", str(picture_folder), "--base", base, "--preprocess", "rescale"]
    given += ["--cache-dir", str(tmp_path / "cache")]
    subject = ImageSubject(resolve_options(parse(given), {}, "default"), Here(None))
    rows = subject.features()
    whole = subject.whole(head)  # the base is loaded again
    pixels = decode(subject.examples.paths[0], 32, subject.examples.scales)
    assert np.allclose(whole(pixels[None]), head(rows[:1]), atol=1e-5)
    again = ImageSubject(resolve_options(parse(given), {}, "default"), Here(None))
    again.features()
    network.layers[0].set_weights([weight + 1 for weight in network.layers[0].get_weights()])
    saved(tmp_path, network)
    with pytest.raises(UserError, match="have changed while the study ran"):
        again.whole(head)


def test_the_size_of_an_own_network_is_read_without_keras(tmp_path: Path):
    assert input_size(saved(tmp_path, small_network())) == 24
    free = keras.Input((None, None, 3))
    functional = keras.Model(free, keras.layers.Conv2D(5, 3)(free))
    assert input_size(saved(tmp_path, functional)) is None
    assert own(str(tmp_path / "own.keras"), size=17).width == 5


def two_inputs() -> keras.Model:
    inputs = [keras.Input((24, 24, 3)) for _ in range(2)]
    return keras.Model(inputs, keras.layers.Add()(inputs))


def two_outputs() -> keras.Model:
    pixels = keras.Input((24, 24, 3))
    return keras.Model(pixels, [keras.layers.Flatten()(pixels)] * 2)


def with_lambda() -> keras.Model:
    return small_network(end=[keras.layers.Lambda(lambda x: x + 1)])


def with_own_layer() -> keras.Model:
    class Mine(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + 1

    return small_network(end=[Mine()])


def grey() -> keras.Model:
    return keras.Sequential([keras.Input((24, 24, 1)), keras.layers.Flatten()])


def oblong() -> keras.Model:
    return keras.Sequential([keras.Input((24, 32, 3)), keras.layers.Flatten()])


def a_sequence() -> keras.Model:
    return small_network(end=[keras.layers.Reshape((9, 5))])


def whole_numbers() -> keras.Model:
    return keras.Sequential(
        [keras.Input((24, 24, 3), dtype="uint8"), keras.layers.Rescaling(1), keras.layers.Flatten()]
    )


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (two_inputs, "own.keras has 2 inputs and 1 output, but a base takes one image"),
        (two_outputs, "own.keras has 1 input and 2 outputs, but a base takes one image"),
        (with_lambda, "own.keras has a Lambda layer, whose code cannot be checked"),
        (with_own_layer, "own.keras has a layer that Keras does not have"),
        (grey, r"takes \(None, 24, 24, 1\), but a base needs square RGB images"),
        (oblong, r"takes \(None, 24, 32, 3\), but a base needs square RGB images"),
        (a_sequence, r"returns \(None, 9, 5\), but a base needs a vector \(None, n\) or"),
        (
            whole_numbers,
            "`preprocess` tf: `base` .*own.keras takes uint8 pixels as they are; give none",
        ),
    ],
)
def test_a_network_that_cannot_be_a_base_is_refused(
    tmp_path: Path, network: Callable[[], keras.Model], sentence: str
):
    base = saved(tmp_path, network())
    with pytest.raises(UserError, match=sentence) as caught:
        own(base)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_network_of_whole_numbers_takes_pixels(tmp_path: Path):
    found = own(saved(tmp_path, whole_numbers()), preprocess=NONE)
    pixels = some_pixels(24)
    np.testing.assert_array_equal(found.model(pixels), pixels.reshape(2, -1))


@pytest.mark.parametrize("where", ["zip", "h5"])
def test_a_file_that_would_unpack_to_gigabytes_is_refused_unread(tmp_path: Path, where: str):
    base = saved(tmp_path, whole_numbers())
    with zipfile.ZipFile(base) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    if where == "zip":
        contents["model.weights.h5"] += bytes(80 << 20)
    else:
        arrays = io.BytesIO(contents["model.weights.h5"])
        with h5py.File(arrays, "a") as opened:  # never written, so it takes no room
            opened.create_dataset("zeros", (10**10,), "f4", chunks=(10**6,), compression="gzip")
        contents["model.weights.h5"] = arrays.getvalue()
    with zipfile.ZipFile(base, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    with pytest.raises(UserError, match=r"is packed as no network is.*but would unpack to"):
        own(base)
    with pytest.raises(UserError, match="but would unpack to"):
        load_backbone(str(base), base="MobileNet", image_size=32)
    with pytest.raises(UserError, match="but would unpack to"):
        load_backbone(str(base), base="VGG16", image_size=32)
    with pytest.raises(UserError, match=r"own\.keras is damaged"):
        load_model(Path(base))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path):
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "saved").mkdir()
    small_network().save(tmp_path / "old.h5")
    for name, sentence in (
        ("none.keras", "none.keras: no such file; Keras writes one with model.save"),
        ("saved", r"saved: a folder \(a SavedModel\?\), not a .keras file; Keras writes one"),
        ("text.keras", r"text.keras is not a .keras file of Keras 3 \(File is not a zip file\)"),
        ("old.h5", "old.h5 is not a .keras file of Keras 3"),
    ):
        with pytest.raises(UserError, match=sentence):
            own(str(tmp_path / name))
    base = saved(tmp_path, small_network())
    with pytest.raises(UserError, match=r"`image_size` 32: `base` .* takes images of 24 pixels"):
        own(base, size=32)
    with pytest.raises(UserError, match=r"`weights` random: `base` .* has its own weights"):
        load_backbone("random", base=base, image_size=24, preprocess="tf")
    with pytest.raises(UserError, match="set `preprocess` to the input it expects: caffe"):
        preprocess_of(base, None)


# what comes out of it


def first_in(*layers: Any, end: Any = None) -> Callable[[], keras.Model]:
    """A network whose images first go through the layers."""

    def network() -> keras.Model:
        pixels = values = keras.Input((24, 24, 3))
        for layer in layers:
            values = layer(values)
        values = small_network()(values)
        return keras.Model(pixels, end(values) if end else values)

    return network


def pooled(values: Any) -> Any:
    return keras.layers.GlobalAveragePooling2D()(values)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (first_in(keras.layers.Rescaling(1 / 255)), "(Rescaling), and preprocess rescale"),
        (first_in(keras.layers.Rescaling(1 / 127.5, -1)), "itself (Rescaling)"),
        (first_in(keras.layers.RandomFlip(), lambda x: x / 255.0), "itself (TrueDivide)"),
        (
            first_in(keras.layers.Normalization(mean=[123.0] * 3, variance=[99.0] * 3)),
            "itself (Normalization)",
        ),
        (first_in(keras.Sequential([keras.layers.Rescaling(1 / 255)])), "itself (Rescaling)"),
        (first_in(end=keras.layers.Dense(3, activation="softmax")), "ends in softmax, as a"),
        (first_in(end=lambda x: keras.ops.softmax(pooled(x))), "ends in softmax, as a"),
        (first_in(end=lambda x: keras.layers.Flatten()(keras.layers.Softmax()(x))), "softmax"),
        (first_in(end=lambda x: keras.layers.Dense(9, "sigmoid")(pooled(x))), "ends in sigmoid"),
        (first_in(end=lambda x: keras.layers.Dense(1)(pooled(x))), "ends in one number"),
        (first_in(keras.layers.Rescaling(2.0, -1.0)), None),  # of 0 to 1
        (first_in(end=lambda x: keras.layers.Rescaling(1 / 255)(x)), None),
        (first_in(end=lambda x: keras.layers.Dense(2, "relu")(pooled(x))), None),
    ],
)
def test_a_classifier_and_pixels_prepared_twice_are_doubtful(
    tmp_path: Path, network: Callable[[], keras.Model], words: str | None
):
    doubts = own(saved(tmp_path, network()), preprocess="rescale").doubts
    assert len(doubts) == (words is not None)
    assert all(words in text for text in doubts)


def test_a_network_that_prepares_pixels_itself_takes_them_as_they_are(tmp_path: Path):
    network = first_in(keras.layers.Rescaling(1 / 255))()
    assert own(saved(tmp_path, network), preprocess=NONE).doubts == ()


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (lambda x: keras.ops.log(x - 1e9), "own.keras gives NaN or infinity for .*png: check its"),
        (lambda x: x * 0.0 + 3.0, r"own.keras gives the same row for all \d+ images, so there is"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(
    tmp_path: Path, picture_folder: Path, end: Callable[[Any], Any], sentence: str
):
    backbone = own(saved(tmp_path, first_in(end=end)()))
    for _ in range(2):  # the second time from the cache
        with pytest.raises(UserError, match=sentence):
            extract_features(load_images(picture_folder), backbone, cache_dir=tmp_path / "cache")
