"""Write the playable page: one file that runs the networks in any browser, without a server.

    python -m stages.play

Reads the networks in models/, the manifest of the prepared data and the `play` section of the params. Writes
reports/play.html. Takes a few seconds. Prints:

    play: loading TensorFlow ...
    open reports/play.html (1.8 MB)
    play: done in 6.3 s
"""

from collections.abc import Mapping

from stages import shell
from stages.play.settings import Settings
from stages.workspace import Workspace


def play(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for it."""
    from stages.play import stage

    return stage.play(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("play", "play", Settings, play, __doc__, tensorflow=True)
