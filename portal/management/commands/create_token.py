"""`manage.py create_token`: create an API token and print its secret."""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from portal.accounts.models import Scope, create_token
from usage.datetimes import EXPECTED, parse_moment, to_instant
from usage.models import Source


class Command(BaseCommand):
    help = "Make an API token. Its secret is printed once, alone on standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="What the token is for.")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            help=f"What it may be used for; repeat for several. Default: {Scope.USAGE_READ} and {Scope.SYNC_READ}.",
        )
        parser.add_argument(
            "--source", action="append", metavar="SLUG", help="Limit it to sources; repeat for several."
        )
        parser.add_argument(
            "--expires",
            metavar="WHEN",
            help="A date (its start in UTC), an instant, or a number of days, e.g. 90d.",
        )
        parser.add_argument(
            "--rate",
            default="",
            metavar="RATE",
            help="How often it may ask, such as 600/min; without it as often as PORTAL_API_RATE says.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sources = get_sources(options["source"]) if options["source"] else None
        expires_at = parse_expiry(options["expires"], timezone.now()) if options["expires"] else None
        scopes = options["scope"] or [Scope.USAGE_READ, Scope.SYNC_READ]
        try:
            token, secret = create_token(
                options["name"], scopes, sources=sources, expires_at=expires_at, rate=options["rate"]
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stderr.write(
            f"Made {token}: {', '.join(token.scopes)}. The secret is shown this once:", self.style.SUCCESS
        )
        self.stdout.write(secret)


def get_sources(slugs: list[str]) -> list[Source]:
    """Return the sources of these slugs; raises CommandError for unknown slugs."""
    sources = {source.slug: source for source in Source.objects.filter(slug__in=slugs)}
    unknown = sorted(set(slugs) - set(sources))
    if unknown:
        raise CommandError(f"There is no source {', '.join(unknown)}.")
    return list(sources.values())


def parse_expiry(text: str, now: datetime) -> datetime:
    """Parse `90d` (from now), a date or an RFC 3339 instant; raises CommandError, also for a past time."""
    in_days = text.removesuffix("d")
    try:
        if in_days != text and in_days.isdecimal():
            moment = now + timedelta(days=int(in_days))
        else:
            moment = to_instant(parse_moment(text), ZoneInfo("UTC"))
    except (ValueError, OverflowError):
        raise CommandError(f"--expires {text}: give {EXPECTED}, or a number of days, e.g. 90d.") from None
    if moment <= now:
        raise CommandError(f"--expires {text} lies in the past.")
    return moment
