"""What someone may do and which sources they see, in plain words."""

from django.http import HttpRequest
from django.utils.html import format_html

from portal.rights import ABILITIES, Limit
from usage.access import in_staff_scope
from usage.admin.display import Table, badge
from usage.models import Source


def abilities_of(codes: set[str], *, everything: bool = False) -> Table:
    """Return what rights allow; `everything`: all of it, as to a superuser."""
    rows = [
        [ability, badge("Yes", "good") if everything or code in codes else badge("No", "plain")]
        for ability, code in ABILITIES.items()
    ]
    return Table("What they may do", ("", "allowed"), rows)


def sources_of(limit: Limit, title: str, request: HttpRequest) -> Table:
    """Return the sources within a limit, as far as the reader may know of them."""
    if limit is None:
        return Table(title, ("source",), [["All sources, also those that are still to come."]])
    seen = in_staff_scope(Source.objects.filter(pk__in=limit).defer("credential"), request, "id")
    rows = [[format_html("{}", source.slug)] for source in seen]
    return Table(title, ("source",), rows, "No source at all.")
