"""`manage.py rotate_keys`: lock every stored secret with the first key, so that the old key can be removed."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.key_rotation import rotate_keys


class Command(BaseCommand):
    help = (
        "Show which of PORTAL_ENCRYPTION_KEYS lock the stored credentials, addresses of channels and second factors, "
        "and with --yes lock all of them with the first key. Exit status 1 if no key opens some of them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do it; without, nothing is changed.")

    def handle(self, *args: Any, **options: Any) -> None:
        write = options["yes"]
        rotations = list(rotate_keys(write=write))
        done = "locked anew" if write else "locked with an old one"
        for rotation in rotations:
            self.stdout.write(
                f"{rotation.name}: {rotation.current:,} locked with the first key, {rotation.old:,} {done}, "
                f"{rotation.unknown:,} that no key opens"
            )
        if unknown := sum(rotation.unknown for rotation in rotations):
            raise CommandError(
                f"No key opens {unknown:,} of these: add the key that they were locked with to the end of "
                "PORTAL_ENCRYPTION_KEYS, or enter them again."
            )
        if write or not any(rotation.old for rotation in rotations):
            self.stdout.write("The first key opens everything: the others may be removed from PORTAL_ENCRYPTION_KEYS.")
        else:
            self.stdout.write("Nothing was changed. Add --yes to lock everything with the first key.")
