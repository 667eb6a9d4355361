"""Serve a web page for playing with the model in models/ and those of all tags, branches and experiments.

    python -m demo [--port 7860] [--host 127.0.0.1] [--no-browser]

Only this machine can open the page. It needs no network. Ctrl-C ends it.
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

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")  # as they appear in the address of a page


def _serve(arguments: argparse.Namespace) -> None:
    listening = _listen(arguments.host, arguments.port)
    ip, port = listening.getsockname()[:2]
    host = _in_address(arguments.host)
    address = f"http://{host}:{port}"
    alone = ipaddress.ip_address(ip).is_loopback
    shell.load_tensorflow("demo")
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        # Gradio reads these when it is imported: the folder for uploads, and that it must send nothing to others.
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
                shell.say("Everyone who can reach this machine can open it.")
            if arguments.browser:
                webbrowser.open(address)
            with contextlib.suppress(KeyboardInterrupt):  # the normal way to end it
                server.run(application, listening)


def _in_address(host: str) -> str:
    """A host as it appears in the address of a page: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this host and port. Raises StageError if that fails."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise StageError(f"--host {host} --port {port}: {error}; choose another, --port 0 takes a free one") from None
    return listening


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (127.0.0.1: only for this machine)"
    )
    parser.add_argument("--port", type=int, default=7860, help="the port to listen on (7860; 0: any free port)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    arguments = parser.parse_args()
    shell.run_interruptible("demo", lambda: _serve(arguments), tensorflow=True)


if __name__ == "__main__":
    main()
