"""An address -> a connection to Ray, and all that was started for it ends with the context.

If the head of a cluster is lost, Ray waits for a minute, in which a question for its nodes is never
answered, then aborts this process with its own message. So the head is asked before Ray is, and the
study ends earlier, in order and with a message. Until then it continues with the workers it has.
"""

import importlib.util
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from study.common.errors import UserError

LOCAL, AUTO = "local", "auto"
CLIENT = "ray://"
CLIENT_PORT = 10001
ANSWER_WAIT = 5.0  # seconds for an answer of a port; Ray itself tries for two minutes
HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")
ADDRESS_RULE = "auto, local, HOST:PORT or ray://HOST:PORT"
STARTED_HOW = "`ray start --head` starts Ray on one machine, `ray start --address=` adds others"
TOKEN_HOW = "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN of this machine"
_SETTINGS = b"\x04"  # type of the frame that starts every answer of HTTP/2, which Ray speaks
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
_RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"  # as Ray spells it
HEAD_PATIENCE = max(
    float(os.environ.get(_RECONNECT, "60")) - 20.0, 0.0
)  # seconds; the rest is for ending in order
HEAD_WAIT = 1.0  # seconds for an answer of the head
_LOOPBACK = {  # of a Ray that we start
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too, everything binds to 127.0.0.1
    "RAY_USAGE_STATS_ENABLED": "0",
}


def cluster_address(text: str) -> str:
    """Return the address of a cluster, with its port.

    Raises:
        ValueError: the text is not an address.
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
    """Connect to Ray at an address of `cluster_address`, unless this process is connected already.

    Raises:
        UserError: Ray is not installed, does not answer there, or has another version.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            '`cluster` needs Ray, which is not installed: run pip install -e ".[cluster]" on every '
            "machine, or leave `cluster` out"
        )
    if address == LOCAL:
        os.environ.update(_LOOPBACK)  # before Ray is imported, which reads them once
    else:
        _check_answer(address)
    import ray

    if ray.is_initialized():  # by the user, in a notebook
        yield
        return
    try:
        _initialize(address)
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Make sure that Ray listens at an address: Ray itself would try long and raise a traceback."""
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)
    found = HOST_PORT.fullmatch(address.removeprefix(CLIENT))
    if found is None:  # auto: Ray searches this machine for its processes
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
            f"`cluster` {address}: what answers there is not Ray; give the address that `ray start "
            "--head` prints (8265 is the port of Ray's dashboard)"
        )
    _check_token(address)


def _check_token(address: str) -> None:
    """Make sure that a cluster takes this machine's token: else Ray tries for minutes, silently."""
    import grpc  # which TensorFlow needs
    import ray

    loader: Any = ray._raylet.AuthenticationTokenLoader  # type: ignore[attr-defined]
    try:
        token = loader.instance().get_token_for_http_header()
    except ray.exceptions.AuthenticationError:  # it should have one, and has none
        token = {}
    with grpc.insecure_channel(address.removeprefix(CLIENT)) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            ask(b"", timeout=ANSWER_WAIT, metadata=tuple(token.items()))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                what = "the cluster has another token than this machine, which may have none"
                raise UserError(f"`cluster` {address}: {what}; {TOKEN_HOW}") from None


def _initialize(address: str) -> None:
    import ray

    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    main = threading.current_thread() is threading.main_thread()  # no other may set a handler
    replaced = (signal.SIGINT, signal.SIGTERM) if main else ()
    handlers = {one: signal.getsignal(one) for one in replaced}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except Exception as error:  # of a dozen classes, most of them plain RuntimeErrors
        raise UserError(_refusal(address, error)) from error
    for one, handler in handlers.items():  # Ray replaces the one for SIGTERM
        signal.signal(one, handler)
    hosts = [node["NodeManagerAddress"] for node in ray.nodes()]
    outside = [host for host in hosts if not host.startswith("127.")]
    if address == LOCAL and outside:
        raise UserError(
            "`cluster` local: Ray was imported earlier in this process and listens on "
            f"{outside[0]}, which other machines can reach: restart the process (in a notebook: "
            "the kernel)"
        )


def _refusal(address: str, error: Exception) -> str:
    message = " ".join(str(error).split())
    words = message if len(message) <= 400 else f"{message[:400]} ..."
    if "ersion mismatch" in message:
        how = "install the same versions of Ray and Python on every machine"
    elif "uthenticat" in message:
        how = TOKEN_HOW
    elif address == AUTO:
        how = STARTED_HOW
    else:
        how = (
            f"start the study on a machine of the cluster ({STARTED_HOW}), or give "
            f"{CLIENT}HOST:{CLIENT_PORT}"
        )
    return f"`cluster` {address}: Ray cannot be reached ({type(error).__name__}: {words}); {how}"


class HeadNode:
    """The head of a cluster, at the HOST:PORT to which Ray connects."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._has_answered = False  # with `ray://` there may be no direct way
        self._silent_since: float | None = None

    def answers(self) -> bool:
        """Return whether Ray can be asked now: the head answers, or has never answered.

        Raises:
            UserError: the head has been silent for too long.
        """
        try:
            socket.create_connection(self._address, timeout=HEAD_WAIT).close()
        except OSError as error:
            if not self._has_answered:
                return True
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since > HEAD_PATIENCE:
                raise UserError(
                    f"`cluster`: the head of the cluster ({self._address[0]}) has not answered "
                    f"for {HEAD_PATIENCE:.0f} s ({error.strerror or error}); once a cluster runs "
                    "again, resume with the same command, with its address or without `cluster`"
                ) from None
            return False
        self._has_answered, self._silent_since = True, None
        return True
