"""The staff's site: Django's admin under the portal's name, with an overview of the sources."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

APPS_IN_ORDER = ("usage", "sync", "portal", "auth")
MODELS_IN_ORDER = ("EnvironmentUsage", "ResourceUsage", "RecipeUsage", "Source", "SourceDay", "Restatement")


class PortalSite(AdminSite):
    """The one admin site; `portal.apps.PortalAdminConfig` makes it Django's default."""

    site_header = "Usage portal"
    site_title = "Usage portal"
    index_title = "Overview"
    site_url = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the sources and how far each can be trusted above the list of tables."""
        from sync.admin.overview import overview

        return super().index(request, {"overview": overview(request), **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List what staff come for first: usage, then how it got in, then access."""
        apps = sorted(super().get_app_list(request, app_label), key=lambda app: place(app["app_label"], APPS_IN_ORDER))
        for app in apps:
            app["models"].sort(key=lambda model: place(model["object_name"], MODELS_IN_ORDER))
        return apps


def place(name: str, order: tuple[str, ...]) -> int:
    """Return where `name` stands in `order`; behind all of it when it is not named there."""
    return order.index(name) if name in order else len(order)
