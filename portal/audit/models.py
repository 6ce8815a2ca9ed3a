"""What was changed: an entry for every change of one thing that is configured."""

from django.db import models
from django.db.models.functions import Now


class Kind(models.TextChoices):
    """What was changed."""

    SOURCE = "source", "Source"
    TOKEN = "token", "API token"
    PERSON = "person", "Person"
    GROUP = "group", "Group"


class Action(models.TextChoices):
    """What was done to it."""

    ADDED = "added", "Added"
    CHANGED = "changed", "Changed"
    DELETED = "deleted", "Deleted"


class AuditEntry(models.Model):
    """One change: of what, by whom, when, from where, and what differs. Only ever added, which a trigger sees to.

    `changes` is {column: [before, after]}, null where there was or is nothing. `source_id`: the source that it is of,
    for the row scope. Nothing here refers to other rows: what is deleted stays on record under the name it had.
    """

    at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=7, choices=Action)
    kind = models.CharField("what", max_length=8, choices=Kind)
    object_id = models.BigIntegerField()
    object_name = models.CharField("name", max_length=300)
    changes = models.JSONField()
    source_id = models.BigIntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    who = models.CharField(max_length=150, blank=True, help_text="A user name; empty where nobody was signed in.")
    address = models.CharField(max_length=64, blank=True, help_text="Where the request came from.")
    url = models.CharField("page", max_length=300, blank=True)
    program = models.CharField(max_length=200, help_text="What was connected to the database.")

    class Meta:
        ordering = ("-id",)
        default_permissions = ("view",)
        verbose_name = "entry of the audit log"
        verbose_name_plural = "audit log"
        indexes = [
            models.Index("at", name="auditentry_at"),
            models.Index("who", "id", name="auditentry_who"),
            models.Index("object_name", "id", name="auditentry_name"),
            models.Index("kind", "id", name="auditentry_kind"),
            models.Index("source_id", "id", name="auditentry_source", condition=models.Q(source_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.object_name} {self.action}"
