"""How usage gets in: the engine, its tasks, its runs, and the vendors."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """The app that reads vendors and records every read."""

    name = "sync"
    verbose_name = "Synchronisation"

    def ready(self) -> None:
        """Register the kind of usage of each vendor, so that an answer is assessed by its sources."""
        from sync.vendors import readers
        from usage.data_quality import VENDOR_KINDS

        VENDOR_KINDS.update({vendor: reader.kind for vendor, reader in readers().items()})
