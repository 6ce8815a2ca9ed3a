"""`python -m portal.web`: the web server, granian with many threads; several processes share a port."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from usage.management.arguments import build_number_type, parse_port

HOST = "127.0.0.1"
PORT = 8000
WORKERS = 2
# Most of them wait: for the database, or for a client that sends or reads slowly.
THREADS = 64
MOST = 1_000  # processes, and threads of each
# A fifth of Python's own: while threads of large answers use the CPU, a small answer waits less for its turns.
SWITCH_SECONDS = 0.001
# Granian waits for ever for requests under way, and a worker that is still starting does not receive the first SIGTERM.
STOP_SECONDS = 3
LOOK_EVERY_SECONDS = 0.5


def main(arguments: list[str]) -> None:
    """Serve the portal until a signal comes; a port that is taken or a wrong setting ends it with status 1."""
    options = build_parser().parse_args(arguments)
    refuse_taken_port(options.host, options.port)
    # Here the settings are checked and the servers waited for, once. The workers are forks of this process: a worker
    # that replaces a dead worker answers at once.
    import portal.wsgi  # noqa: F401

    Granian(
        "portal.wsgi:application",
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=options.workers,
        blocking_threads=options.threads,
        respawn_failed_workers=True,
        respawn_interval=0,
        workers_kill_timeout=STOP_SECONDS,
    ).serve(target_loader=partial(load_application, os.getpid()), wrap_loader=False)


def refuse_taken_port(host: str, port: int) -> None:
    """End the process with status 1 where another server listens on the port, or no server can.

    Granian binds with SO_REUSEPORT: both servers would share the port, and each would get some requests.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Connections of the last server may linger in TIME_WAIT; a new server may listen all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            sys.exit(f"Port {port} of {host} {reason}; choose another with --port or --host.")


def build_parser() -> ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(prog="python -m portal.web", description=__doc__)
    parser.add_argument("--host", default=HOST, help=f"The address to listen on. Default: {HOST}.")
    parser.add_argument("--port", type=parse_port, default=PORT, help=f"Default: {PORT}.")
    count = build_number_type(1, MOST)
    parser.add_argument("--workers", type=count, default=WORKERS, help=f"Processes. Default: {WORKERS}.")
    parser.add_argument("--threads", type=count, default=THREADS, help=f"Threads of each process. Default: {THREADS}.")
    return parser


def load_application(parent: int) -> Any:
    """Return the application, in a worker that the process `parent` has just forked."""
    # Until granian sets its own, a fork has the handlers of its parent, which only take a note.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    sys.setswitchinterval(SWITCH_SECONDS)
    from portal.incidents.watcher import start_watcher
    from portal.wsgi import application

    start_watcher()
    return application


def end_with_parent(parent: int) -> None:
    """End this worker soon after its parent was killed: it would serve on, and share the port with the next server."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
