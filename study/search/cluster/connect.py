"""An address comes in; inside, Ray is there, and whatever was begun here ends with it."""

import importlib.util
import logging
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from study.common.errors import UserError

LOCAL, AUTO = "local", "auto"
CLIENT = "ray://"
CLIENT_PORT = 10001
PATIENCE = 5.0  # seconds for an answer of a port; Ray itself asks for two minutes
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")
ADDRESS_RULE = "auto, local, HOST:PORT or ray://HOST:PORT"
STARTED_HOW = "`ray start --head` starts Ray on one machine, `ray start --address=` joins others"
_SETTINGS = b"\x04"  # a type of frame, which begins every answer of HTTP/2, as Ray speaks it
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
_LOOPBACK = {  # of a Ray of our own
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everything binds to 127.0.0.1, on Linux, too
    "RAY_USAGE_STATS_ENABLED": "0",
}


def cluster_address(text: str) -> str:
    """An address of a cluster, as `Options.cluster` has it; ValueError if it cannot be one."""
    text = text.strip()
    if text in (LOCAL, AUTO):
        return text
    found = HOST_PORT.fullmatch(text.removeprefix(CLIENT))
    if found and 0 < int(found[2]) < 2**16:
        return text
    if text.startswith(CLIENT) and re.fullmatch(r"[\w.-]+", text.removeprefix(CLIENT)):
        return f"{text}:{CLIENT_PORT}"
    raise ValueError


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Ray at an address of `cluster_address`; a connection that this process has is used again.

    Raises:
        UserError: Ray is not installed, nothing answers there, or it is another version.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            '`cluster` needs Ray, which is not installed: pip install -e ".[cluster]" on every '
            "machine, or leave `cluster` out"
        )
    if address == LOCAL:
        os.environ.update(_LOOPBACK)  # before Ray is imported: it looks once
    else:
        _ask(address)
    import ray

    if ray.is_initialized():  # in a notebook, by its owner
        yield
        return
    _initialize(address)
    try:
        yield
    finally:
        ray.shutdown()


def _initialize(address: str) -> None:
    import ray

    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except Exception as error:  # of a dozen classes, most of them plain RuntimeErrors
        raise UserError(_refusal(address, error)) from error
    for one, handler in handlers.items():  # Ray takes SIGTERM for itself
        signal.signal(one, handler)
    if address == LOCAL and (found := _elsewhere()):
        ray.shutdown()
        raise UserError(
            f"`cluster` local: Ray was imported before in this process and listens on {found}, "
            "where others can reach it: restart the process (in a notebook: the kernel)"
        )


def _elsewhere() -> str:
    """The address of a node that is not on loopback."""
    import ray

    places = (node["NodeManagerAddress"] for node in ray.nodes())
    return next((place for place in places if not place.startswith("127.")), "")


def _refusal(address: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    words = said if len(said) <= 400 else f"{said[:400]} ..."
    if "ersion mismatch" in said:
        how = "install the same versions of Ray and Python on every machine"
    elif "uthenticat" in said:
        how = "this machine needs the cluster's token, in ~/.ray/auth_token or RAY_AUTH_TOKEN"
    elif address == AUTO:
        how = STARTED_HOW
    else:
        how = (
            f"start the study on a machine of the cluster ({STARTED_HOW}), or give "
            f"{CLIENT}HOST:{CLIENT_PORT}"
        )
    return f"`cluster` {address}: Ray cannot be reached ({type(error).__name__}: {words}); {how}"


def _ask(address: str) -> None:
    """Whether anything listens there: Ray would ask again and again, and end in a traceback.

    Raises:
        UserError: nothing does.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)
    found = HOST_PORT.fullmatch(address.removeprefix(CLIENT))
    if found is None:  # auto: Ray looks at its own processes
        return
    host, port = found[1].strip("[]"), int(found[2])
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as there:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            there.sendall(_GREETING)
            answer = there.recv(4)
    except OSError as error:
        raise UserError(
            f"`cluster` {address}: nothing answers there ({error.strerror or error}); {STARTED_HOW}"
        ) from None
    if answer[3:] != _SETTINGS:
        raise UserError(
            f"`cluster` {address}: what answers there is not Ray; `ray start --head` prints the "
            "address to give, and 8265 is the port of its pages"
        )
