"""The app of incidents, channels and messages."""

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """What is wrong and needs a person, and who is notified of it."""

    name = "portal.incidents"
    label = "incidents"
    verbose_name = "Incidents"

    def ready(self) -> None:
        """Register the start-up checks, have each tick send the watch, and `prune` delete what is old."""
        from portal.incidents import checks  # noqa: F401
        from portal.incidents.outbox import select_old_incidents, select_old_tests
        from portal.incidents.tasks import watch
        from sync.pruning import MORE_OLD_ROWS
        from sync.tasks import AFTER_TICK

        AFTER_TICK.append(watch)
        MORE_OLD_ROWS["resolved incidents"] = select_old_incidents
        MORE_OLD_ROWS["tests of channels"] = select_old_tests
