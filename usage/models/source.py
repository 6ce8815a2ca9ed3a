"""A source: one account at one vendor, and how it is read."""

from datetime import datetime
from typing import Final, Self
from zoneinfo import ZoneInfo

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from usage.fields import EncryptedTextField

# A longer interval is a mistake: the source would not be read again in any time that a person waits.
LONGEST_INTERVAL_MINUTES: Final = 31 * 24 * 60
LONGEST_LOOK_BACK_DAYS: Final = 3_650


class SourceQuerySet(models.QuerySet["Source"]):
    """Queries over sources."""

    def running(self) -> Self:
        """Return the sources that are read: enabled and not halted by a refused credential."""
        return self.filter(enabled=True, halted_at=None)


class Source(models.Model):
    """One account at one vendor (docs/glossary.md); many sources may share a vendor.

    The credential is either `credential`, encrypted at rest, or the name of an environment variable that holds
    it; the database refuses both at once.
    """

    id = models.AutoField(primary_key=True)  # four bytes in place of eight in every record and in its key
    slug = models.SlugField(unique=True, help_text="Its name in addresses and commands, e.g. main-account.")
    vendor = models.SlugField(db_index=False, help_text="The vendor's folder name under sync/vendors/.")
    base_url = models.URLField(max_length=500, help_text="Where the vendor's API begins.")
    credential = EncryptedTextField(
        blank=True, default="", help_text="The key or token. Stored encrypted, never shown."
    )
    credential_env = models.CharField(
        max_length=200,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*$", "A name of letters, digits and _ is allowed.")],
        help_text="Or: the name of the environment variable that holds it.",
    )
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        help_text="IANA name; the zone whose calendar days this source is read by.",
    )
    options = models.JSONField(default=dict, blank=True, help_text="The vendor's own options.")
    enabled = models.BooleanField(default=True, help_text="Off: nothing is read; what is held stays.")
    retired_after = models.DateField(
        null=True,
        blank=True,
        editable=False,
        help_text="The last day that is expected of a source that is not used any more.",
    )
    interval_minutes = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_INTERVAL_MINUTES)],
        help_text="How often it is read, in minutes.",
    )
    backfill_from = models.DateField(help_text="The first day to hold.")
    look_back_days = models.PositiveSmallIntegerField(
        default=3,
        validators=[MaxValueValidator(LONGEST_LOOK_BACK_DAYS)],
        help_text="How many past days stay provisional and are read again.",
    )
    max_concurrency = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1)], help_text="How many workers may read it at once."
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Over all workers; empty: unlimited.",
    )
    mirror_refuses_gaps = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its mirror answers a question over days that are not held completely with the vendor's 503.",
    )
    failures = models.PositiveIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Failed reads since the last that succeeded, over all days.",
    )
    paused_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Not read before: the vendor failed day after day."
    )
    next_sync_at = models.DateTimeField(null=True, blank=True, editable=False)
    halted_at = models.DateTimeField(null=True, blank=True, editable=False)
    halt_reason = models.TextField(blank=True, default="", editable=False)
    halt_code = models.CharField(max_length=40, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SourceQuerySet.as_manager()

    class Meta:
        ordering = ("slug",)
        constraints = [
            models.CheckConstraint(
                condition=Q(credential="") | Q(credential_env=""),
                name="source_one_credential",
                violation_error_message="Give a credential or the name of a variable that holds it, not both.",
            ),
            models.CheckConstraint(condition=Q(retired_after=None) | Q(enabled=False), name="source_retired_is_off"),
            models.CheckConstraint(condition=Q(interval_minutes__gte=1), name="source_interval_positive"),
            models.CheckConstraint(condition=Q(max_concurrency__gte=1), name="source_max_concurrency_positive"),
            models.CheckConstraint(
                condition=Q(requests_per_minute=None) | Q(requests_per_minute__gte=1),
                name="source_requests_per_minute_positive",
            ),
            models.CheckConstraint(
                condition=Q(halted_at=None, halt_reason="") | (Q(halted_at__isnull=False) & ~Q(halt_reason="")),
                name="source_halted_with_reason",
            ),
        ]
        indexes = [
            models.Index(
                F("next_sync_at").asc(nulls_first=True),
                name="source_next_sync",
                condition=Q(enabled=True, halted_at=None),
            )
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the source's days; UTC where the zone database has no such zone, so that its pages open.

        Such a source is neither read nor mirrored: check `zone_exists`.
        """
        return get_zone(self.time_zone) or UTC

    def is_paused(self, now: datetime) -> bool:
        """Return whether it is left alone because its reads failed day after day."""
        return self.paused_until is not None and self.paused_until > now

    @property
    def zone_exists(self) -> bool:
        """Whether the zone database of this machine has the zone."""
        return get_zone(self.time_zone) is not None


UTC = ZoneInfo("UTC")


def get_zone(name: str) -> ZoneInfo | None:
    """Return the zone of that name; None where the zone database has none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # What is missing, is no relative path, or names a folder such as America.
        return None
