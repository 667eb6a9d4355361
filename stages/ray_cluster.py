"""Connect to a Ray cluster, or start Ray on this machine."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from stages.errors import StageError


@contextlib.contextmanager
def connected(user: str, cpus: int, **options: Any) -> Iterator[Any]:
    """The `ray` module, connected to the cluster at RAY_ADDRESS until the block ends.

    Without RAY_ADDRESS, Ray starts on this machine with `cpus` processors and listens to this machine only. `options`
    go to `ray.init`. Raises StageError if Ray is not installed; the message names `user`, the command that needs it.
    """
    try:
        import ray
    except ImportError:
        raise StageError(f"{user} needs Ray: .venv/bin/pip install -e '.[ray]'") from None
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(logging_level="warning", **options)
    try:
        yield ray
    finally:
        ray.shutdown()
