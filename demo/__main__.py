"""Open the page on whatever models/ holds, and on any revision that Git and DVC remember.

    python -m demo [--port 7860] [--host 127.0.0.1] [--no-browser]

It is served to this machine alone, by its own names alone, and needs no network. Ctrl-C ends it.
"""

import argparse
import contextlib
import ipaddress
import os
import socket
import tempfile
import webbrowser
from pathlib import Path

from stages import shell
from stages.errors import StageError

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")  # as an address of a page has them


def _serve(arguments: argparse.Namespace) -> None:
    listening = _listen(arguments.host, arguments.port)
    ip, port = listening.getsockname()[:2]
    host = _in_address(arguments.host)
    address = f"http://{host}:{port}"
    alone = ipaddress.ip_address(ip).is_loopback
    shell.load_tensorflow("demo")
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        # Gradio reads these when it is imported: where uploads go, and that nobody is told of us.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        try:
            from demo import server
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise StageError("the page needs the extra `demo`: `make demo`, or pip install -e '.[demo]'") from None
        with server.application(Path(), (*_LOOPBACK, host) if alone else server.ANY_HOST) as application:
            shell.say(f"The page: {address}  (Ctrl-C ends it)")
            if not alone:
                shell.say("Everybody who can reach this machine can open it.")
            if arguments.browser:
                webbrowser.open(address)
            with contextlib.suppress(KeyboardInterrupt):  # the way to end it, and no error
                server.run(application, listening)


def _in_address(host: str) -> str:
    """A host as the address of a page has it: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises StageError where that is not possible."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise StageError(f"--host {host} --port {port}: {error}; name another, --port 0 takes a free one") from None
    return listening


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="the port to listen at (7860; 0: a free one)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    arguments = parser.parse_args()
    shell.run("demo", lambda: _serve(arguments), lambda: None, tensorflow=True)


if __name__ == "__main__":
    main()
