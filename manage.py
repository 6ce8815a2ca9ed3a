#!/usr/bin/env python
"""The portal's command line; where no server is configured it runs every command on the embedded ones."""

import os
import signal
import sys
from contextlib import nullcontext


def main() -> None:
    """Run one management command, with PostgreSQL and Redis at hand."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal.services import ServiceError, at_hand, needs_servers

    # A request to stop ends like an error does: what was started is stopped first.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with at_hand() if needs_servers(sys.argv) else nullcontext():
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    except ServiceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
