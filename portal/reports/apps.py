"""The app of scheduled reports."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    """Saved views that are sent by mail."""

    name = "portal.reports"
    label = "reports"
    verbose_name = "Reports"

    def ready(self) -> None:
        """Register the start-up checks, have each tick plan reports, deliver them, and `prune` delete what is old."""
        from portal.incidents.delivery import SENDERS
        from portal.reports import checks  # noqa: F401
        from portal.reports.schedule import select_old_messages
        from portal.reports.sender import send_report
        from portal.reports.tasks import plan
        from sync.pruning import MORE_OLD_ROWS
        from sync.tasks import AFTER_TICK

        AFTER_TICK.append(plan)
        SENDERS["report"] = send_report
        MORE_OLD_ROWS["messages of reports"] = select_old_messages
