"""What a base runs on: the first GPU or this processor, and its fastest trusted arithmetic."""

import contextlib
import platform
from pathlib import Path
from typing import Literal, NamedTuple

from study.common.errors import UserError

Dtype = Literal["bfloat16", "float32"]

# Flags of processors that multiply in bfloat16: 8 times float32's speed with AMX, 2 times with AVX.
_CPU_BFLOAT16 = {"amx_bf16", "avx512_bf16"}
_GPU_BFLOAT16 = (8, 0)  # compute capability of the first tensor cores that know bfloat16


class Device(NamedTuple):
    """What the backbone runs on."""

    kind: Literal["cpu", "gpu"]
    name: str
    dtype: Dtype  # the fastest one whose features can be trusted


def pick_device(device: str | None) -> Device:
    """Choose where to run: `cpu`, `gpu` (the first one), or None for a GPU where there is one.

    Call it before anything else uses TensorFlow: the other GPUs are hidden, and memory growth is
    switched on, which TensorFlow only accepts before its first operation. In a notebook that came
    earlier, both stay as they are.

    Raises:
        UserError: `gpu` was asked for and there is none, or another word was given, or TensorFlow
            has begun to compute on the other kind.
    """
    import tensorflow as tf

    if device not in (None, "cpu", "gpu"):
        raise UserError(f"`device` {device}: give cpu or gpu")
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError(
            "`device` gpu: TensorFlow finds no GPU here; "
            'install the gpu extra (pip install -e ".[gpu]") or leave `device` out'
        )
    use_gpu = bool(gpus) and device != "cpu"
    chosen = gpus[:1] if use_gpu else []
    try:
        if tf.config.get_visible_devices("GPU") != chosen:
            tf.config.set_visible_devices(chosen, "GPU")
        if use_gpu and not tf.config.experimental.get_memory_growth(gpus[0]):
            tf.config.experimental.set_memory_growth(gpus[0], True)
    except RuntimeError as error:
        if bool(tf.config.get_visible_devices("GPU")) != use_gpu:
            raise UserError(
                f"`device` {device}: TensorFlow has already begun in this process, with other "
                "devices; restart it (in a notebook: the kernel), or leave `device` out"
            ) from error
    if not use_gpu:
        return _cpu()
    details = tf.config.experimental.get_device_details(gpus[0])
    fast = details.get("compute_capability", (0, 0)) >= _GPU_BFLOAT16
    return Device("gpu", details.get("device_name", "GPU"), "bfloat16" if fast else "float32")


def _cpu() -> Device:
    """This machine's processor, by Linux's description; elsewhere float32."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    return Device("cpu", name, "bfloat16" if flags & _CPU_BFLOAT16 else "float32")
