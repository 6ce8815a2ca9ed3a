"""How the portal is wired, and who may see what."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

APPS_WITH_PAGES = {"auth", "portal", "sync", "usage"}


class PortalConfig(AppConfig):
    """The app of tokens, scopes, health and start-up checks."""

    name = "portal"
    verbose_name = "Access"

    def ready(self) -> None:
        """Register the start-up checks, and make the Celery application the one that tasks are sent through."""
        from portal import celery, checks  # noqa: F401


class PortalAdminConfig(AdminConfig):
    """Django's admin, on the portal's own site; every `admin.register` goes there."""

    default_site = "portal.site.PortalSite"

    def ready(self) -> None:
        """Take the tables of other packages off the site: some hold secrets, and none is for people to write."""
        super().ready()
        from django.apps import apps
        from django.contrib import admin

        foreign = [model for model in apps.get_models() if model._meta.app_label not in APPS_WITH_PAGES]
        admin.site.unregister([model for model in foreign if admin.site.is_registered(model)])
