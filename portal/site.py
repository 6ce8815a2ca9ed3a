"""The staff's site: Django's admin with the portal's own pages and navigation."""

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
from django.views.generic import RedirectView
from django_htmx.http import HttpResponseClientRefresh


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page of the navigation: any one of `permissions` opens it; without any, everybody may."""

    label: str
    url_name: str
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageGroup:
    """Pages under one menu."""

    label: str
    pages: tuple[SitePage, ...]


USAGE_VIEWS = ("usage.view_environmentusage", "usage.view_resourceusage", "usage.view_recipeusage")
NAVIGATION: tuple[SitePage | PageGroup, ...] = (
    SitePage("Overview", "admin:index"),
    SitePage("Explore", "admin:explore", USAGE_VIEWS),
    SitePage("Coverage", "admin:coverage", ("usage.view_sourceday",)),
    PageGroup(
        "Usage",
        (
            SitePage("Environments", "admin:usage_environmentusage_changelist", ("usage.view_environmentusage",)),
            SitePage("Resources", "admin:usage_resourceusage_changelist", ("usage.view_resourceusage",)),
            SitePage("Recipes", "admin:usage_recipeusage_changelist", ("usage.view_recipeusage",)),
            SitePage("Reports", "admin:reports_report_changelist", ("reports.view_report",)),
        ),
    ),
    SitePage("Sources", "admin:usage_source_changelist", ("usage.view_source",)),
    PageGroup(
        "Alerts",
        (
            SitePage("Incidents", "admin:incidents_incident_changelist", ("incidents.view_incident",)),
            SitePage("Channels", "admin:incidents_channel_changelist", ("incidents.view_channel",)),
        ),
    ),
    PageGroup(
        "Sync",
        (
            SitePage("Source days", "admin:usage_sourceday_changelist", ("usage.view_sourceday",)),
            SitePage("Runs", "admin:sync_syncrun_changelist", ("sync.view_syncrun",)),
            SitePage("Restatements", "admin:usage_restatement_changelist", ("usage.view_restatement",)),
            SitePage("Rejected records", "admin:usage_rejectedrecord_changelist", ("usage.view_rejectedrecord",)),
        ),
    ),
    PageGroup(
        "Access",
        (
            SitePage("API tokens", "admin:accounts_apitoken_changelist", ("accounts.view_apitoken",)),
            SitePage("Users", "admin:auth_user_changelist", ("auth.view_user",)),
            SitePage("Groups", "admin:auth_group_changelist", ("auth.view_group",)),
            SitePage("Audit log", "admin:accounts_auditentry_changelist", ("accounts.view_auditentry",)),
        ),
    ),
    PageGroup("Help", (SitePage("Documentation", "admin:documentation"), SitePage("API", "api:docs"))),
)


@dataclass(frozen=True, slots=True)
class MenuLink:
    """A link of the navigation; `current` is its `aria-current`, '' for a page that is not shown."""

    label: str
    url: str
    current: str


@dataclass(frozen=True, slots=True)
class Menu:
    """The links of a menu; a page without a menu is alone in one without a label."""

    label: str
    links: Sequence[MenuLink]

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
        """Show the overview: alerts and the usage of every source."""
        from portal.dashboard.views import build_overview

        shown = {
            **self.each_context(request),
            "title": self.index_title,
            **build_overview(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/index.html", shown)

    def get_urls(self) -> list[Any]:
        """Add the portal's own pages to Django's."""
        from portal.dashboard.actions import run_alert_action
        from portal.documentation import show_document
        from sync.admin.coverage.views import build_urls as build_coverage_urls
        from usage.explore.views import build_urls as build_explore_urls

        pages = [
            *build_coverage_urls(self),
            *build_explore_urls(self.admin_view),
            path("documentation/", RedirectView.as_view(url="docs/index.md"), name="documentation"),
            path("documentation/<path:path>", self.admin_view(show_document), name="document"),
            path("alerts/<slug:name>/<int:pk>/", self.admin_view(run_alert_action), name="alert_action"),
        ]
        return [*pages, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Guard a view as Django does, and return a person who was signed out to the page they came from.

        The address of a button or of a part of a page is no page to return to.
        """
        guarded: Callable[..., HttpResponseBase] = super().admin_view(view, cacheable)

        @wraps(guarded)
        def view_or_sign_in(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request) or request.path == reverse("admin:logout"):
                return guarded(request, *args, **kwargs)
            if request.headers.get("HX-Request"):
                return HttpResponseClientRefresh()
            if request.method == "POST":
                return redirect_to_login(get_previous_url(request), reverse("admin:login"))
            return guarded(request, *args, **kwargs)

        return view_or_sign_in

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether someone is staff and has any permission."""
        return super().has_permission(request) and bool(request.user.is_superuser or request.user.get_all_permissions())

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Redirect to the sign-in page; show someone without any permission whom to ask."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            return render(request, "account/no_rights.html", self.each_context(request), status=403)
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Redirect to the page of the account."""
        return redirect("account_change_password")

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Redirect to the overview, because the navigation has every table."""
        return redirect("admin:index")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add the navigation to every page."""
        return {**super().each_context(request), "navigation": build_navigation(request)}


def get_previous_url(request: HttpRequest) -> str:
    """Return the page of the site that a request was made from; the overview where the browser does not say."""
    try:
        referrer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return reverse("admin:index")
    if referrer.netloc != request.get_host() or not referrer.path.startswith(reverse("admin:index")):
        return reverse("admin:index")
    return referrer._replace(scheme="", netloc="", fragment="").geturl()


def build_navigation(request: HttpRequest) -> list[Menu]:
    """Return the menus with the pages that this person may open."""
    if not request.user.is_staff:
        return []
    menus = []
    for entry in NAVIGATION:
        pages = entry.pages if isinstance(entry, PageGroup) else (entry,)
        links = [build_link(request, page) for page in pages if can_open(request, page)]
        if links:
            menus.append(Menu(entry.label if isinstance(entry, PageGroup) else "", links))
    return menus


def can_open(request: HttpRequest, page: SitePage) -> bool:
    """Return whether this person may open a page."""
    return not page.permissions or any(request.user.has_perm(code) for code in page.permissions)


def build_link(request: HttpRequest, page: SitePage) -> MenuLink:
    """Return the link to a page, marked where it or a page below it is shown."""
    url = reverse(page.url_name)
    is_below = url != reverse("admin:index") and request.path.startswith(url)
    return MenuLink(page.label, url, "page" if request.path == url else "true" if is_below else "")
