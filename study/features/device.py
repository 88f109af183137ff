"""The device that runs a base, the first GPU or the CPU, with its fastest trusted arithmetic."""

import platform
import re
from pathlib import Path
from typing import Literal, NamedTuple

from study.common.errors import UserError

Dtype = Literal["bfloat16", "float32"]

# Flags of processors that multiply in bfloat16: AMX is 8 times as fast as float32, AVX 2 times.
_CPU_BFLOAT16 = {"amx_bf16", "avx512_bf16"}
_GPU_BFLOAT16 = (8, 0)  # compute capability of the first GPUs with bfloat16 tensor cores


class Device(NamedTuple):
    """Device that runs the backbone."""

    kind: Literal["cpu", "gpu"]
    name: str
    dtype: Dtype  # the fastest whose features can be trusted


def pick_device(device: str | None) -> Device:
    """Return the device to use: `cpu`, `gpu` (the first one), or None for a GPU if there is one.

    Call this before anything else uses TensorFlow: it hides the other GPUs and switches memory
    growth on, which TensorFlow accepts only before its first operation. If a notebook has computed
    before, both stay as they are.

    Raises:
        UserError: there is no GPU but `gpu` is given, the word is unknown, or TensorFlow already
            computes on the other kind of device.
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
                f"`device` {device}: TensorFlow already uses other devices in this process; "
                "restart it (in a notebook: the kernel), or leave `device` out"
            ) from error
    if not use_gpu:
        return _cpu()
    details = tf.config.experimental.get_device_details(gpus[0])
    fast = details.get("compute_capability", (0, 0)) >= _GPU_BFLOAT16
    return Device("gpu", details.get("device_name", "GPU"), "bfloat16" if fast else "float32")


def _cpu() -> Device:
    """Return this machine's processor as Linux describes it; on other systems in float32."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    lines = re.findall(r"^(model name|flags)[ \t]*: *(.*?) *$", text, re.MULTILINE)
    first = dict(reversed(lines))  # each core has the same lines
    name = first.get("model name") or platform.processor() or platform.machine()
    fast = _CPU_BFLOAT16 & set(first.get("flags", "").split())
    return Device("cpu", name, "bfloat16" if fast else "float32")
