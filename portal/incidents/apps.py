"""The app of incidents, channels and messages."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """What is wrong and needs a person, and who is told of it."""

    name = "portal.incidents"
    label = "incidents"
    verbose_name = "Incidents"

    def ready(self) -> None:
        """Register the start-up checks, and have each tick send the watch."""
        from portal.incidents import checks  # noqa: F401
        from portal.incidents.tasks import watch
        from sync.tasks import AFTER_TICK

        AFTER_TICK.append(watch)
