"""`manage.py publish`: publish to the lake now, until nothing differs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from usage.lake import LakeUnavailable, require_lake


class Command(BaseCommand):
    help = "Publish every complete day that differs from the lake, without waiting for the hour; may be stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_lake()
        except LakeUnavailable as error:
            raise CommandError(str(error)) from None
        from usage.lake.publish import BUSY, publish

        while True:
            published = publish()
            if published is None:
                raise CommandError(BUSY, returncode=1)
            self.stdout.write(
                f"{published.days:,} days published, {published.replaced:,} of them with new records: "
                f"{published.records:,}."
            )
            if not published.more:
                return
