"""The staff's site: Django's admin under the portal's name, with its own pages and its own navigation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django_htmx.http import HttpResponseClientRefresh


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the navigation: `permissions` are those of which one is enough to open it, none for everybody."""

    label: str
    address: str
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Pages that the navigation shows under one word."""

    label: str
    places: tuple[Place, ...]


USAGE_VIEWS = ("usage.view_environmentusage", "usage.view_resourceusage", "usage.view_recipeusage")
# Every page of the portal's own that can be reached from anywhere, in the order in which staff need them.
NAVIGATION: tuple[Place | Group, ...] = (
    Place("Overview", "admin:index"),
    Place("Explore", "admin:explore", USAGE_VIEWS),
    Place("Coverage", "admin:coverage", ("usage.view_sourceday",)),
    Group(
        "Usage",
        (
            Place("Environments", "admin:usage_environmentusage_changelist", ("usage.view_environmentusage",)),
            Place("Resources", "admin:usage_resourceusage_changelist", ("usage.view_resourceusage",)),
            Place("Recipes", "admin:usage_recipeusage_changelist", ("usage.view_recipeusage",)),
        ),
    ),
    Place("Sources", "admin:usage_source_changelist", ("usage.view_source",)),
    Group(
        "Reading",
        (
            Place("Days", "admin:usage_sourceday_changelist", ("usage.view_sourceday",)),
            Place("Runs", "admin:sync_syncrun_changelist", ("sync.view_syncrun",)),
            Place("Restatements", "admin:usage_restatement_changelist", ("usage.view_restatement",)),
            Place("Rejected records", "admin:usage_rejectedrecord_changelist", ("usage.view_rejectedrecord",)),
        ),
    ),
    Group(
        "Access",
        (
            Place("Tokens", "admin:portal_apitoken_changelist", ("portal.view_apitoken",)),
            Place("People", "admin:auth_user_changelist", ("auth.view_user",)),
            Place("Groups", "admin:auth_group_changelist", ("auth.view_group",)),
            Place("Audit log", "admin:portal_auditentry_changelist", ("portal.view_auditentry",)),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the navigation; `current` is what `aria-current` says of it, '' for a page that is not shown."""

    label: str
    url: str
    current: str


@dataclass(frozen=True, slots=True)
class Menu:
    """Links under one word; a page without a menu stands alone in one without a label."""

    label: str
    links: Sequence[Link]

    @property
    def current(self) -> bool:
        """Whether the page that is shown is one of these."""
        return any(link.current for link in self.links)


class PortalSite(AdminSite):
    """The one admin site; `portal.apps.PortalAdminConfig` makes it Django's default."""

    site_header = "Usage portal"
    site_title = "Usage portal"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False
    empty_value_display = "–"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show what was used, how well it is known, and what needs a person."""
        from portal.overview.page import context

        shown = {**self.each_context(request), "title": self.index_title, **context(request), **(extra_context or {})}
        return TemplateResponse(request, "admin/index.html", shown)

    def get_urls(self) -> list[Any]:
        """Add the portal's own pages to Django's."""
        from portal.overview.mending import mend
        from sync.admin.coverage import urls
        from usage.explore.views import addresses

        mine = [
            *urls(self),
            *addresses(self.admin_view),
            path("mend/<slug:what>/<int:pk>/", self.admin_view(mend), name="mend"),
        ]
        return [*mine, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """As Django's, and who was signed out since a page was opened comes back to that page.

        A button posts to what is no page, and a part of a page has no room for the one to sign in on.
        """
        guarded: Callable[..., HttpResponseBase] = super().admin_view(view, cacheable)

        @wraps(guarded)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request) or request.path == reverse("admin:logout"):
                return guarded(request, *args, **kwargs)
            if request.headers.get("HX-Request"):
                return HttpResponseClientRefresh()
            if request.method == "POST":
                return redirect_to_login(page_before(request), reverse("admin:login"))
            return guarded(request, *args, **kwargs)

        return answered

    def has_permission(self, request: HttpRequest) -> bool:
        """Whoever is staff and may do anything at all."""
        return super().has_permission(request) and bool(request.user.is_superuser or request.user.get_all_permissions())

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send a stranger to sign in; tell who is signed in and may do nothing whom to ask."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            return render(request, "account/no_rights.html", self.each_context(request), status=403)
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Change it where it is used."""
        return redirect("account_change_password")

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Send whoever asks for the tables of one app to the overview: the navigation leads to every table."""
        return redirect("admin:index")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add the navigation to every page."""
        return {**super().each_context(request), "navigation": navigation(request)}


def page_before(request: HttpRequest) -> str:
    """Return the page of the site that a request was made from, the overview where the browser does not say."""
    try:
        told = urlsplit(request.headers.get("Referer", ""))
    except ValueError:  # no address at all
        return reverse("admin:index")
    if told.netloc != request.get_host() or not told.path.startswith(reverse("admin:index")):
        return reverse("admin:index")
    return told._replace(scheme="", netloc="", fragment="").geturl()


def navigation(request: HttpRequest) -> list[Menu]:
    """Return the menus that this person may open something of."""
    if not request.user.is_staff:
        return []
    menus = []
    for entry in NAVIGATION:
        places = entry.places if isinstance(entry, Group) else (entry,)
        links = [link(request, place) for place in places if may_open(request, place)]
        if links:
            menus.append(Menu(entry.label if isinstance(entry, Group) else "", links))
    return menus


def may_open(request: HttpRequest, place: Place) -> bool:
    """Return whether this person may open a page of the navigation."""
    return not place.permissions or any(request.user.has_perm(code) for code in place.permissions)


def link(request: HttpRequest, place: Place) -> Link:
    """Return the link to a page, marked where it or a page below it is the one that is shown."""
    url = reverse(place.address)
    below = url != reverse("admin:index") and request.path.startswith(url)
    return Link(place.label, url, "page" if request.path == url else "true" if below else "")
