"""An address comes in; inside, Ray is there, and whatever was begun here ends with it.

Without the head of a cluster Ray aborts this process with its own message. It waits for a minute
before, and whoever asks it for its nodes meanwhile never hears an answer. So the head is asked
before Ray is, and the study ends earlier, in order, with a sentence. Until then it goes on with the
workers that are left.
"""

import importlib.util
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from study.common.errors import UserError

LOCAL, AUTO = "local", "auto"
CLIENT = "ray://"
CLIENT_PORT = 10001
ANSWER_WAIT = 5.0  # seconds for an answer of a port; Ray itself asks for two minutes
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")
ADDRESS_RULE = "auto, local, HOST:PORT or ray://HOST:PORT"
STARTED_HOW = "`ray start --head` starts Ray on one machine, `ray start --address=` joins others"
_SETTINGS = b"\x04"  # a type of frame, which begins every answer of HTTP/2, as Ray speaks it
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"  # as Ray spells it
RAYS_PATIENCE = float(os.environ.get(_RECONNECT, "60"))
HEAD_PATIENCE = max(RAYS_PATIENCE - 20.0, 0.0)  # seconds; the rest is for ending in order
HEAD_WAIT = 1.0  # seconds for an answer of the head
_LOOPBACK = {  # of a Ray of our own
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everything binds to 127.0.0.1, on Linux, too
    "RAY_USAGE_STATS_ENABLED": "0",
}


def cluster_address(text: str) -> str:
    """The address of a cluster, with its port.

    Raises:
        ValueError: it cannot be one.
    """
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
    """Connect to Ray at an address of `cluster_address`, or use this process's own connection.

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
    """The address of a node that is not on loopback; empty if there is none."""
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
    """Make sure that Ray listens there: itself, it would ask for long and end in a traceback.

    Raises:
        UserError: nothing listens there, or something else.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)
    found = HOST_PORT.fullmatch(address.removeprefix(CLIENT))
    if found is None:  # auto: Ray looks at its own processes
        return
    host, port = found[1].strip("[]"), int(found[2])
    try:
        with socket.create_connection((host, port), timeout=ANSWER_WAIT) as there:
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


class HeadNode:
    """The head of a cluster.

    Args:
        address: HOST:PORT, where Ray connects to.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = host.strip("[]"), int(port)
        self._heard = False  # `ray://` may lead through where no other way does
        self._silent_since: float | None = None

    def answers(self) -> bool:
        """Whether Ray can be asked now: the head answers, or never did.

        Raises:
            UserError: it has been silent for too long.
        """
        try:
            socket.create_connection(self._place, timeout=HEAD_WAIT).close()
        except OSError as error:
            if not self._heard:
                return True
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since > HEAD_PATIENCE:
                raise UserError(
                    f"`cluster`: the head of the cluster ({self._place[0]}) has not answered for "
                    f"{HEAD_PATIENCE:.0f} s ({error.strerror or error}); once there is a cluster "
                    "again, the same command resumes, with its address or without `cluster`"
                ) from None
            return False
        self._heard, self._silent_since = True, None
        return True
