"""The directory: the vendors' own names for the ids in usage, read daily and joined to usage when it is shown.

Usage never holds a name of the directory: names change, ids never do.
"""

from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from usage.models.source import Source


class NameKind(models.TextChoices):
    """The kinds of ids in usage that have names."""

    PROJECT = "project", "Project"
    USER = "user", "User"
    ENVIRONMENT_CLASS = "environment_class", "Environment class"
    RUNNER = "runner", "Runner"
    TEAM = "team", "Team"
    GROUP = "group", "Group"
    REGION = "region", "Region"
    WORKSPACE = "workspace", "Workspace"
    FOLDER = "folder", "Folder"
    RECIPE = "recipe", "Recipe"


# Their names are personal data (usage/directory/access.py).
PERSONS: Final = frozenset({NameKind.USER})


class Directory(models.Model):
    """The state of a source's names: their last read, and the lease of a running read.

    `version` grows whenever a name, a membership or `gone_at` changes. `error`: why the last read failed altogether;
    `refused`: the listings that the credential may not read or that the vendor does not have, with the reason.
    """

    source = models.OneToOneField(Source, models.CASCADE, primary_key=True, related_name="directory")
    version = models.PositiveBigIntegerField(default=0, db_default=0)
    read_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(db_default=Now(), help_text="Not to be read by the schedule before.")
    failures = models.PositiveIntegerField(default=0, db_default=0, help_text="Failed reads in a row.")
    error = models.TextField(blank=True, default="", db_default="")
    error_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    refused = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    attempt = models.PositiveIntegerField(default=0, db_default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "directories"
        default_permissions = ()

    def __str__(self) -> str:
        return f"names of {self.source}"


class DirectoryEntry(models.Model):
    """One id of a source and its name at the vendor; an id that the vendor no longer lists stays, with `gone_at`."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=NameKind)
    vendor_id = models.TextField(help_text="The id as usage records have it.")
    name = models.TextField(blank=True, default="", db_default="")
    email = models.TextField(blank=True, default="", db_default="")
    pseudonym = models.TextField(
        blank=True, default="", db_default="", help_text="Of a person: a word that stands for the id and never changes."
    )
    team_ids = ArrayField(models.TextField(), default=list, blank=True, help_text="The teams that a user is in.")
    group_ids = ArrayField(models.TextField(), default=list, blank=True, help_text="The groups that a user is in.")
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    gone_at = models.DateTimeField(null=True, blank=True, help_text="Since when the vendor no longer lists it.")

    class Meta:
        verbose_name = "name"
        default_permissions = ("view",)
        permissions = [("view_person", "Can view the names of people")]
        constraints = [
            # Every look-up of a name uses this key.
            models.UniqueConstraint("source", "kind", "vendor_id", name="directoryentry_once"),
            models.CheckConstraint(condition=Q(kind__in=NameKind.values), name="directoryentry_known_kind"),
            models.CheckConstraint(condition=~Q(vendor_id=""), name="directoryentry_has_id"),
            models.CheckConstraint(
                condition=~Q(kind=NameKind.USER) | ~Q(pseudonym=""), name="directoryentry_person_has_pseudonym"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.vendor_id}"
