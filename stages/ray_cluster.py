"""Connect to a Ray cluster, or start Ray on this machine."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

from stages.errors import StageError

_SECONDS = 10.0  # to wait for an answer from the cluster


@contextlib.contextmanager
def connected(user: str, cpus: int, **options: Any) -> Iterator[Any]:
    """The `ray` module, connected to the cluster at RAY_ADDRESS until the block ends.

    Without RAY_ADDRESS, Ray starts on this machine with `cpus` processors and listens to this machine only. `options`
    go to `ray.init`. Raises StageError if Ray is not installed; the message names `user`, the command that needs it.
    Raises StageError if no cluster answers at RAY_ADDRESS, or one with another token or version of Ray or Python.
    """
    try:
        import ray
    except ImportError:
        raise StageError(f"{user} needs Ray: .venv/bin/pip install -e '.[ray]'") from None
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        options |= {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        _require_answer(address or "")
        ray.init(logging_level="warning", **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        if not address:
            raise
        reason = " ".join(str(error).split())
        raise StageError(
            f"RAY_ADDRESS: cannot connect to a Ray cluster at {address} ({reason}); start one with `ray start --head`, "
            "or correct the address"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise OSError unless something answers at an address host:port. Ray itself would wait for it without end."""
    if match := re.fullmatch(r"\[?([^/\[\]]+)\]?:(\d+)", address):
        socket.create_connection((match[1], int(match[2])), timeout=_SECONDS).close()
