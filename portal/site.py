"""The staff's site: Django's admin with the portal's own pages and navigation."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView
from django_htmx.http import HttpResponseClientRefresh

from portal.navigation import build_navigation
from usage.formatting import format_lag, format_timestamp
from usage.standby import get_data_time, get_replica_lag


class PortalSite(AdminSite):
    """The only admin site; `portal.apps.PortalAdminConfig` makes it Django's default."""

    site_header = "Usage portal"
    site_title = "Usage portal"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False
    empty_value_display = "–"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the overview: alerts and the usage of every source."""
        from portal.dashboard.views import build_overview

        context = {
            **self.each_context(request),
            "title": self.index_title,
            **build_overview(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/index.html", context)

    def get_urls(self) -> list[Any]:
        from portal.api_request import show_api_request
        from portal.dashboard.actions import run_alert_action
        from portal.documentation import show_document
        from portal.search.views import search
        from sync.admin.coverage.views import build_urls as build_coverage_urls
        from usage.explore.urls import build_urls as build_explore_urls

        pages = [
            *build_coverage_urls(self),
            *build_explore_urls(self.admin_view),
            path("documentation/", RedirectView.as_view(url="docs/index.md"), name="documentation"),
            path("documentation/<path:path>", self.admin_view(show_document), name="document"),
            path("api-request/", self.admin_view(require_safe(show_api_request)), name="api_request"),
            path("search/", self.admin_view(require_safe(search)), name="search"),
            path("alerts/<slug:name>/<int:pk>/", self.admin_view(run_alert_action), name="alert_action"),
        ]
        return [*pages, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Guard a view as Django does, and return a person who was signed out to the page they came from.

        The address of a button or of a part of a page is no page to return to.
        """
        admin_view: Callable[..., HttpResponseBase] = super().admin_view(view, cacheable)

        @wraps(admin_view)
        def view_or_sign_in(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request) or request.path == reverse("admin:logout"):
                return admin_view(request, *args, **kwargs)
            if request.headers.get("HX-Request"):
                return HttpResponseClientRefresh()
            if request.method == "POST":
                return redirect_to_login(get_previous_url(request), reverse("admin:login"))
            return admin_view(request, *args, **kwargs)

        return view_or_sign_in

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user is staff and has any permission."""
        return super().has_permission(request) and bool(request.user.is_superuser or request.user.get_all_permissions())

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Redirect to the sign-in page; show a user without any permission whom to contact."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            return render(request, "account/no_rights.html", self.each_context(request), status=403)
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_change_password")

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> Any:
        """Redirect to the overview, because the navigation has every table."""
        return redirect("admin:index")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return nothing: no page shows Django's list of tables, which takes 60 addresses and permissions to make."""
        return []

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add the navigation to every page, and of a page of the standby, which state of the data it shows."""
        navigation, state = build_navigation(request), describe_standby()
        return {**super().each_context(request), "navigation": navigation, "standby_state": state}


def describe_standby() -> str:
    """Return which state the standby shows: `As of 2026-11-03 14:05:09, 3.2 s behind.`; '' for the primary."""
    lag = get_replica_lag()
    return "" if lag is None else f"As of {format_timestamp(get_data_time())}, {format_lag(lag)}."


def get_previous_url(request: HttpRequest) -> str:
    """Return the page of the site that a request was made from; the overview where the browser does not send it."""
    try:
        referrer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return reverse("admin:index")
    if referrer.netloc != request.get_host() or not referrer.path.startswith(reverse("admin:index")):
        return reverse("admin:index")
    return referrer._replace(scheme="", netloc="", fragment="").geturl()
