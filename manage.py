#!/usr/bin/env python
"""The portal's command line; without configured servers, commands run on the embedded ones."""

import os
import signal
import sys
from contextlib import nullcontext


def main() -> None:
    """Run a management command, with embedded servers if needed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal.embedded import ServiceError, needs_servers, provide_servers

    # SIGTERM ends the command like an error, so that what it started is stopped.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with provide_servers() if needs_servers(sys.argv) else nullcontext():
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    except ServiceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
