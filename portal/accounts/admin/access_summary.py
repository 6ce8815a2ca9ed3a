"""Tables on the pages of users and groups: what they may do, and which sources they see."""

from django.http import HttpRequest
from django.utils.html import format_html

from portal.accounts.permissions import ABILITIES, SourceLimit
from usage.admin.display import Table, render_badge
from usage.api.access import filter_by_staff_scope
from usage.models import Source


def build_abilities_table(codes: set[str], *, is_superuser: bool = False) -> Table:
    """Return what permissions allow; a superuser may do everything."""
    rows = [
        [ability, render_badge("Yes", "good") if is_superuser or code in codes else render_badge("No", "plain")]
        for ability, code in ABILITIES.items()
    ]
    return Table("What they may do", ("", "allowed"), rows)


def build_sources_table(limit: SourceLimit, request: HttpRequest) -> Table:
    """Return the sources within a limit, without those that the reader may not see."""
    title = "Sources they see"
    if limit is None:
        return Table(title, ("source",), [["All sources, also those added later."]])
    sources = filter_by_staff_scope(Source.objects.filter(pk__in=limit).defer("credential"), request, "id")
    rows = [[format_html("{}", source.slug)] for source in sources]
    return Table(title, ("source",), rows, "No source at all.")
