#!/usr/bin/env python
"""The portal's command line; where no server is configured it runs every command on the embedded ones."""

import os
import sys


def main() -> None:
    """Run one management command, with PostgreSQL and Redis at hand."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal.services import at_hand

    with at_hand():
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
