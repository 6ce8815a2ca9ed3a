"""How usage gets in: the engine, its tasks, its runs, and the vendors."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """The app that reads vendors and keeps the record of every read."""

    name = "sync"
    verbose_name = "Synchronisation"

    def ready(self) -> None:
        """Tell what kind of usage each vendor reports, so that an answer is judged by the sources it is made of."""
        from sync.vendors import readers
        from usage.data_quality import VENDOR_KINDS

        VENDOR_KINDS.update({vendor: reader.kind for vendor, reader in readers().items()})
