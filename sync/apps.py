"""How usage gets in: the engine, its tasks, its runs, and the vendors."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """The app that reads vendors and keeps the record of every read."""

    name = "sync"
    verbose_name = "Synchronisation"
