"""API tokens, invitations, and the groups whose members see only some sources."""

import hashlib
import secrets
import string
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.postgres.fields import ArrayField
from django.db import connections, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry
from portal.accounts.throttling import validate_rate
from usage.models import Source

__all__ = ["ApiToken", "AuditEntry", "GroupScope", "Invitation", "Scope", "create_token"]

ALPHABET = string.digits + string.ascii_letters
PREFIX_LENGTH = 8
SECRET_LENGTH = 43  # 62**43 > 2**256: as much as 32 random bytes
USE_RECORDED_EVERY = timedelta(minutes=1)

# SQL by hand: every request with a token runs it, and the ORM took longer to build it than PostgreSQL to answer it.
SELECT_USABLE = """
    SELECT {columns}, ARRAY(SELECT s.source_id FROM accounts_apitoken_sources s WHERE s.apitoken_id = t.id)
    FROM accounts_apitoken t
    WHERE t.digest = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %s)
"""


class Scope(models.TextChoices):
    """What a token may be used for."""

    USAGE_READ = "usage:read", "Read usage"
    SYNC_READ = "sync:read", "Read sources, days and runs"
    SYNC_RUN = "sync:run", "Ask for a synchronisation"
    MIRROR_READ = "mirror:read", "Read through the vendor-compatible endpoints"
    METRICS_READ = "metrics:read", "Read the metrics of operation"
    PERSON_READ = "person:read", "Read the names of people beside usage"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Queries on tokens."""

    def get_usable(self, secret: str, now: datetime) -> "ApiToken | None":
        """Return the token of `secret` if it is neither revoked nor expired, with the ids of its sources, in one query.

        The look-up is by the secret's hash in a unique index: its duration reveals nothing about the secret.
        """
        names = [field.attname for field in self.model._meta.concrete_fields]
        statement = SELECT_USABLE.format(columns=", ".join(f"t.{name}" for name in names))
        with connections[self.db].cursor() as cursor:
            cursor.execute(statement, (hash_secret(secret), now))
            row = cursor.fetchone()
        if row is None:
            return None
        *values, sources = row
        token = self.model.from_db(self.db, names, values)
        token.chosen_source_ids = sources  # type: ignore[attr-defined]
        return token


class ApiToken(models.Model):
    """An API token. Only the SHA-256 of its secret is stored; the secret is shown once, when the token is created.

    A `limited` token sees only its `sources` and cannot learn that there are others; without sources it sees nothing.
    """

    name = models.CharField(max_length=200, help_text="What it is for.")
    prefix = models.CharField(max_length=16, editable=False, help_text="How its secret begins.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope), help_text="What it may be used for.")
    limited = models.BooleanField(default=False, help_text="It sees only the sources chosen here.")
    sources = models.ManyToManyField(Source, blank=True, related_name="+")
    rate = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        validators=[validate_rate],
        help_text="How often it may ask, such as 600/min; empty: as often as the settings say.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    revoked_at = models.DateTimeField(null=True, blank=True, help_text="From then on it opens nothing.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="To the minute.")

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="apitoken_has_name"),
            models.CheckConstraint(condition=Q(scopes__contained_by=Scope.values), name="apitoken_known_scopes"),
            models.CheckConstraint(condition=Q(scopes__len__gt=0), name="apitoken_has_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def record_use(self, now: datetime) -> None:
        """Store the time of use, at most once a minute for all processes together."""
        before = now - USE_RECORDED_EVERY
        if self.last_used_at is None or self.last_used_at < before:
            stale = Q(last_used_at=None) | Q(last_used_at__lt=before)
            ApiToken.objects.filter(stale, pk=self.pk).update(last_used_at=now)

    def revoke(self) -> None:
        """Revoke the token from the next request on; a second call changes nothing."""
        ApiToken.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())
        self.refresh_from_db(fields=["revoked_at"])


class GroupScope(models.Model):
    """The only sources that the members of a group see; a group without a row here has no limit.

    A user in several limited groups sees the sources of all of them; groups without a limit, such as the roles, do not
    lift it. Superusers and users in no limited group see all sources.
    """

    group = models.OneToOneField(Group, models.CASCADE, related_name="source_scope")
    sources = models.ManyToManyField(
        Source, blank=True, related_name="+", help_text="Members see these sources and cannot learn of others."
    )

    class Meta:
        verbose_name = "limit to sources"
        verbose_name_plural = "limit to sources"

    def __str__(self) -> str:
        return f"sources of {self.group}"


class Invitation(models.Model):
    """A link with which a new user sets their first password (portal/accounts/invitations.py).

    Only the SHA-256 of its secret is stored. It is deleted when it is used, withdrawn or replaced, so that the audit
    log has each of these.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="invitation")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"invitation of {self.user}"


def hash_secret(secret: str) -> bytes:
    """Return the SHA-256 of a secret. A random secret of 256 bits needs no salt and no stretching."""
    return hashlib.sha256(secret.encode()).digest()


def create_token(
    name: str,
    scopes: Iterable[str] = (Scope.USAGE_READ,),
    *,
    sources: Iterable[Source] | None = None,
    expires_at: datetime | None = None,
    rate: str = "",
    created_by: User | None = None,
) -> tuple[ApiToken, str]:
    """Create a token and return it with its secret, which is stored nowhere.

    `sources` None leaves it unlimited; with an empty list it sees nothing. Raises ValidationError for an empty name,
    no scope, an unknown scope, or a malformed `rate`.
    """
    prefix = f"up_{_generate_text(PREFIX_LENGTH)}"
    secret = f"{prefix}_{_generate_text(SECRET_LENGTH)}"
    token = ApiToken(
        name=name,
        prefix=prefix,
        digest=hash_secret(secret),
        scopes=sorted({str(scope) for scope in scopes}),
        limited=sources is not None,
        expires_at=expires_at,
        rate=rate,
        created_by=created_by,
    )
    token.full_clean()
    with transaction.atomic():
        token.save(force_insert=True)
        token.sources.set(sources or [])
    return token, secret


def _generate_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
