"""The Django project's own apps: the start-up checks, and the admin site."""

import gc

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

APPS_WITH_PAGES = {"accounts", "auth", "incidents", "reports", "sync", "usage"}


class PortalConfig(AppConfig):
    """The app of the start-up checks."""

    name = "portal"
    verbose_name = "Access"

    def ready(self) -> None:
        """Register the start-up checks and the Celery application, and have each tick publish to the lake."""
        from portal import celery, checks, database_checks, lake  # noqa: F401
        from sync.tasks import AFTER_TICK
        from usage.lake import is_enabled

        if is_enabled():
            AFTER_TICK.append(lake.publish_days)


class PortalAdminConfig(AdminConfig):
    """Django's admin with the portal's own site."""

    default_site = "portal.site.PortalSite"

    def ready(self) -> None:
        """Unregister the models of other packages: some contain secrets, and none is to be edited."""
        super().ready()
        from django.apps import apps
        from django.contrib import admin

        other_models = [model for model in apps.get_models() if model._meta.app_label not in APPS_WITH_PAGES]
        admin.site.unregister([model for model in other_models if admin.site.is_registered(model)])
        # All is imported (portal/settings.py); later collections skip it.
        gc.freeze()
        gc.enable()
