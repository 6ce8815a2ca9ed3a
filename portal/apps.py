"""How the portal is wired, and who may see what."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


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
