"""Whether the head of the cluster still answers: without it Ray ends this process in its own words.

Ray waits for a minute, and whoever asks it for its nodes meanwhile never hears an answer. So the
head is asked before Ray is, and the study ends earlier, in order, with a sentence. Until then it
goes on with the workers that are left.
"""

import os
import socket
import time

from study.common.errors import UserError

_SETTING = "RAY_gcs_rpc_server_reconnect_timeout_s"  # as Ray spells it
RAYS_PATIENCE = float(os.environ.get(_SETTING, "60"))
PATIENCE = max(RAYS_PATIENCE - 20.0, 0.0)  # seconds; the rest is for ending in order
ANSWER = 1.0  # seconds for an answer


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
        """Whether Ray can be asked now.

        Raises:
            UserError: it has been silent for too long.
        """
        try:
            socket.create_connection(self._place, timeout=ANSWER).close()
        except OSError as error:
            if not self._heard:
                return True
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since > PATIENCE:
                raise UserError(
                    f"`cluster`: the head of the cluster ({self._place[0]}) has not answered for "
                    f"{PATIENCE:.0f} s ({error.strerror or error}); once there is a cluster again, "
                    "the same command resumes, with its address or without `cluster`"
                ) from None
            return False
        self._heard, self._silent_since = True, None
        return True
