#!/usr/bin/env python
"""The portal's command line; where no server is configured it runs every command on the embedded ones."""

import os
import sys
from contextlib import nullcontext


def main() -> None:
    """Run one management command, with PostgreSQL and Redis at hand."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal.services import ServiceError, at_hand, needs_servers

    try:
        with at_hand() if needs_servers(sys.argv) else nullcontext():
            from django.core.management import execute_from_command_line

            execute_from_command_line(sys.argv)
    except ServiceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
