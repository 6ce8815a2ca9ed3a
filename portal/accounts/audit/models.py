"""The audit log: one entry for each change of a configured object."""

from django.db import models
from django.db.models.functions import Now


class ObjectKind(models.TextChoices):
    """The kind of object."""

    SOURCE = "source", "Source"
    TOKEN = "token", "API token"
    PERSON = "person", "User"
    GROUP = "group", "Group"
    PERMISSION = "permission", "Permission"
    PROVIDER = "provider", "Sign-in provider"
    VIEW = "view", "Saved view"
    CHANNEL = "channel", "Channel"
    REPORT = "report", "Report"
    REPORTING_ROLE = "reporting", "Reporting role"
    NOTE = "note", "Note"


class Action(models.TextChoices):
    """The kind of change."""

    ADDED = "added", "Added"
    CHANGED = "changed", "Changed"
    DELETED = "deleted", "Deleted"
    EMPTIED = "emptied", "Emptied"


class AuditEntry(models.Model):
    """A change of an object, or a table that was emptied. Entries are never changed or deleted; triggers refuse it.

    `changes` is {column: [before, after]}, null for no value. `source_id`: the source concerned, for the row scope.
    Of a table that was emptied (TRUNCATE), `object_name` is its name and `object_id` null.
    There are no foreign keys: deleted objects and users stay in the log under the names they had.
    """

    at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=7, choices=Action)
    kind = models.CharField("what", max_length=10, choices=ObjectKind)
    object_id = models.BigIntegerField(null=True)
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
