"""Serve the playable page for the model in models/ and for those of all tags, branches and experiments.

    python -m demo [--port 7860] [--no-browser]

Adds to the page of `reports/play.html` what needs Python: nearest training images, and your own picture before the
discriminator and back to z. Only this machine can open the page. It needs no network. Ctrl-C ends it.
"""

import argparse
import contextlib
import webbrowser
from pathlib import Path

from demo.models import Models
from demo.server import LOOPBACK, Server
from stages import shell
from stages.errors import StageError


def _serve(arguments: argparse.Namespace) -> None:
    with contextlib.closing(Models(Path())) as models, _listen(arguments.port, models) as server:
        first = models.first()  # before a visitor has to wait for it
        address = f"http://{LOOPBACK}:{server.server_address[1]}"
        if first.missing:
            shell.say(f"{first.missing}\nThe page shows the committed reports/play.html.")
        shell.say(f"The page: {address}  (Ctrl-C ends it)")
        if arguments.browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # the normal way to end it
            server.serve_forever()


def _listen(port: int, models: Models) -> Server:
    try:
        return Server(port, models)
    except (OSError, OverflowError) as error:
        raise StageError(f"--port {port}: {error}; choose another, --port 0 takes a free one") from None


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=7860, help="the port to listen on (7860; 0: any free port)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    arguments = parser.parse_args()
    shell.run_interruptible("demo", lambda: _serve(arguments), tensorflow=True)


if __name__ == "__main__":
    main()
