"""Train on a Ray cluster: one worker per task, each with the TF_CONFIG that TensorFlow expects.

    RAY_ADDRESS=head:6379 python -m stages.train.on_ray 4 --gpus 1

Every node must see the current folder under the same path. Without RAY_ADDRESS, Ray starts on this machine. Afterwards,
`dvc commit --force train` records the output as the stage's result.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import ray_cluster, shell
from stages.errors import StageError


class Worker:
    """A worker on one of the nodes."""

    def address(self) -> str:
        """The address for the other workers: the node's, with a port that was free a moment ago."""
        import ray

        with socket.socket() as listener:
            listener.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{listener.getsockname()[1]}"

    def train(self, addresses: Sequence[str], index: int, folder: str, arguments: Sequence[str]) -> int:
        """Run the stage as the worker with this index. Returns its exit code."""
        config = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, "-m", "stages.train", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode  # noqa: S603


def run(workers: int, gpus: float, arguments: Sequence[str]) -> int:
    """Train with this number of workers. Returns the first exit code that is not 0. Raises StageError without Ray."""
    with ray_cluster.connected("stages.train.on_ray", workers) as ray:
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")(Worker)
        actors = [remote.remote() for _ in range(workers)]
        try:
            addresses = ray.get([actor.address.remote() for actor in actors])
            codes = [actor.train.remote(addresses, i, str(Path.cwd()), arguments) for i, actor in enumerate(actors)]
            return next((code for code in ray.get(codes) if code), 0)
        except ray.exceptions.RayActorError as error:
            raise StageError(
                f"train: a node was lost ({str(error).splitlines()[0]}); run the same command again to resume from the "
                "last checkpoint"
            ) from None


def main() -> None:
    """Train as the command line says. Exits with the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "workers", type=int, help="the number of workers, at most one per processor (per GPU with --gpus 1)"
    )
    parser.add_argument("--gpus", type=float, default=0, help="GPUs per worker (default: 0)")
    options, rest = parser.parse_known_args()
    sys.exit(run(options.workers, options.gpus, rest))


if __name__ == "__main__":
    shell.run_command(main)
