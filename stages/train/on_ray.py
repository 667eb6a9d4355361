"""Train on a Ray cluster: workers on its nodes, each with the TF_CONFIG that TensorFlow asks for.

    RAY_ADDRESS=head:6379 python -m stages.train.on_ray 4 --gpus 1

Every node must see the current folder under the same path. Without RAY_ADDRESS Ray starts on this machine. Afterwards
`dvc commit --force train` takes what they made as the stage's result.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import shell
from stages.errors import StageError


class Worker:
    """One worker, on some node."""

    def address(self) -> str:
        """Where the others can reach it: the node's address and a port that was free a moment ago."""
        import ray

        with socket.socket() as listener:
            listener.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{listener.getsockname()[1]}"

    def train(self, addresses: Sequence[str], index: int, folder: str, arguments: Sequence[str]) -> int:
        """Run the stage to its end, as the `index`-th of the workers; its exit code."""
        config = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, "-m", "stages.train", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode  # noqa: S603


def run(workers: int, gpus: float, arguments: Sequence[str]) -> int:
    """Train with so many workers; the first exit code that is not 0. Raises StageError without Ray."""
    try:
        import ray
    except ImportError:
        raise StageError("stages.train.on_ray needs Ray: .venv/bin/pip install -e '.[ray]'") from None
    here: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):  # a Ray of our own listens to this machine alone
        here = {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(logging_level="warning", **here)
    try:
        remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        actors = [remote.remote() for _ in range(workers)]
        addresses = ray.get([actor.address.remote() for actor in actors])
        folder = str(Path.cwd())
        codes = [actor.train.remote(addresses, i, folder, arguments) for i, actor in enumerate(actors)]
        return next((code for code in ray.get(codes) if code), 0)
    except ray.exceptions.RayActorError as error:
        raise StageError(
            f"train: a node was lost ({str(error).splitlines()[0]}); run the same command again: it goes on"
        ) from None
    finally:
        ray.shutdown()


def main() -> None:
    """Train with the workers that the command line asks for. Exits with the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workers", type=int, help="how many; no more than the cluster has processors or GPUs for")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each (0)")
    options, rest = parser.parse_known_args()
    sys.exit(run(options.workers, options.gpus, rest))


if __name__ == "__main__":
    shell.run_command(main)
