"""`manage.py publish`: publish to the lake now, until nothing is left that differs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from usage.lake import is_enabled


class Command(BaseCommand):
    help = "Publish every complete day that differs from the lake, without waiting for the hour; may be stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_enabled():
            raise CommandError("PORTAL_LAKE_URL is not set: there is no lake.")
        from usage.lake.publish import publish

        while True:
            published = publish()
            if published is None:
                raise CommandError("Another process is publishing; try again later.", returncode=1)
            self.stdout.write(
                f"{published.days:,} days published, {published.replaced:,} of them with new records: "
                f"{published.records:,}."
            )
            if not published.more:
                return
