"""System checks of the settings: each message names the variable and how to set it."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from email.utils import parseaddr
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks  # noqa: A004
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from portal import error_reports, traces
from portal.accounts.oidc import is_trusted_url
from portal.accounts.oidc_roles import parse_group_roles
from portal.accounts.roles import ROLES
from portal.accounts.throttling import RATES_ALLOWED, parse_rate
from portal.startup import wait_for_servers
from sync.http.address import parse_allowed_host
from sync.redis_servers import parse_sentinels

REDIS_SCHEMES = ("redis://", "rediss://", "sentinel://")
SECRET_KEY_LENGTH = 50
HOST_NAME = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
POSITIVE = (
    "PORTAL_TICK_SECONDS",
    "PORTAL_LEASE_SECONDS",
    "PORTAL_SCRUB_DAYS",
    "PORTAL_HTTP_TIMEOUT_SECONDS",
    "PORTAL_HTTP_MAX_BYTES",
    "PORTAL_HTTP_ATTEMPTS",
    "PORTAL_EXPORT_SECONDS",
    "PORTAL_EXPORTS_AT_ONCE",
    "PORTAL_XLSX_MAX_ROWS",
    "PORTAL_REQUESTS_AT_ONCE",
    "PORTAL_SESSION_IDLE_MINUTES",
    "PORTAL_SESSION_HOURS",
    "PORTAL_INVITATION_HOURS",
    "PORTAL_LATE_HOURS",
    "PORTAL_RESTATED_SHARE",
    "PORTAL_DISK_FREE_MB",
    "PORTAL_REPLICA_LAG_SECONDS",
    "PORTAL_LAKE_MINUTES",
    "PORTAL_LAKE_TAG_DAYS",
)
HOST_LISTS = {
    "PORTAL_ALLOWED_VENDOR_HOSTS": ("api.example.com,127.0.0.1:9000", "portal.E008"),
    "PORTAL_ALLOWED_WEBHOOK_HOSTS": ("hooks.intern,10.0.0.5:8080", "portal.E030"),
}
ABOUT_PORTS = "Without a port an entry means 443; the port * means every port."
# Very long times overflow where they are added to others.
TEN_YEARS = {"SECONDS": 3_650 * 24 * 3_600, "MINUTES": 3_650 * 24 * 60, "HOURS": 3_650 * 24, "DAYS": 3_650}
LONGEST_HOURS = 30 * 24
XLSX_SHEET_ROWS = 1_048_575  # besides the header
LONGEST_EXPORT_SECONDS = 7 * 24 * 3600  # PostgreSQL's own limit is 24 days
RATES = ("PORTAL_API_RATE", "PORTAL_API_FAILURES_RATE")
DOMAINS_HINT = "List what stands behind the @ of e-mail addresses, with commas between: example.com,example.org."
PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}_")


def exit_if_misconfigured() -> None:
    """Run the checks; with an error among them, print all errors and exit with status 1.

    `manage.py` runs the checks itself; granian and celery call this.
    """
    exit_if_serious(run_checks())
    # Connect only after DATABASE_URL was checked.
    wait_for_servers()
    try:
        exit_if_serious(run_checks(databases=["default"]))
    finally:
        close_connections()


def exit_if_serious(messages: Iterable[CheckMessage]) -> None:
    """Print the errors among `messages` and exit with status 1, if there are any."""
    serious = [message for message in messages if message.is_serious()]
    if serious:
        sys.stderr.write("The portal does not start:\n" + "".join(f"{message}\n" for message in serious))
        sys.exit(1)


def close_connections() -> None:
    """Close all database connections and the pool: workers forked from here must not share them."""
    connections.close_all()
    close_pool = getattr(connections[DEFAULT_DB_ALIAS], "close_pool")  # noqa: B009 (not in Django's stubs)
    close_pool()


@register()
def check_environment(**_: Any) -> Iterator[CheckMessage]:
    """Every variable has a value of its type."""
    for name, kind in settings.PORTAL_UNREADABLE.items():
        yield Error(f"{name} cannot be read.", hint=f"Set it to {kind}.", id="portal.E001")


@register(Tags.security)
def check_secret_key(**_: Any) -> Iterator[CheckMessage]:
    """SECRET_KEY is long enough, as are those before it."""
    try:
        long_enough = len(settings.SECRET_KEY) >= SECRET_KEY_LENGTH
    except ImproperlyConfigured:
        long_enough = False
    if not long_enough:
        yield Error(
            f"SECRET_KEY is missing or shorter than {SECRET_KEY_LENGTH} characters.",
            hint="Set it to a long random text; `manage.py new_key` makes one.",
            id="portal.E002",
        )
    if any(len(key) < SECRET_KEY_LENGTH for key in settings.SECRET_KEY_FALLBACKS):
        yield Error(
            f"SECRET_KEY_FALLBACKS contains a key shorter than {SECRET_KEY_LENGTH} characters.",
            hint="List earlier values of SECRET_KEY, with commas between them, or leave it unset.",
            id="portal.E002",
        )


@register()
def check_redis_url(**_: Any) -> Iterator[CheckMessage]:
    """REDIS_URL is a URL of Redis."""
    if not is_redis_url(settings.REDIS_URL):
        yield Error(
            "REDIS_URL is missing or does not name a Redis server.",
            hint="Set it like redis://:password@host:6379/0, rediss:// for TLS, or for sentinels "
            "sentinel://:password@host:26379,host2:26379/name-of-the-master/0. Commands of manage.py start an "
            "embedded one where it is unset.",
            id="portal.E004",
        )


def is_redis_url(url: str) -> bool:
    """Return whether a URL names a Redis server and a database by its number, or sentinels and a master."""
    try:
        parse_sentinels(url)
    except ValueError:
        return False
    return url.startswith(REDIS_SCHEMES)


@register(Tags.security)
def check_encryption_keys(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_ENCRYPTION_KEYS has at least one key, and only keys."""
    keys = settings.PORTAL_ENCRYPTION_KEYS
    if not keys or not all(is_fernet_key(key) for key in keys):
        yield Error(
            "PORTAL_ENCRYPTION_KEYS is missing or contains something that is not a key.",
            hint="Set it to one or more keys made by `manage.py new_key`, with commas between them.",
            id="portal.E005",
        )


def is_fernet_key(key: str) -> bool:
    """Return whether `key` is a Fernet key: 32 bytes in URL-safe base64."""
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@register(Tags.database)
def check_sources(databases: Sequence[str] | None, **_: Any) -> Iterator[CheckMessage]:
    """Each source can be read; an unreadable source is a warning, as the others can be read."""
    from sync.engine.connect import find_misconfiguration
    from usage.models import Source

    try:
        sources = Source.objects.all() if databases else []
        misconfigurations = [(source.slug, find_misconfiguration(source)) for source in sources]
    except (DatabaseError, ImproperlyConfigured):
        # No database, or no tables yet.
        return
    for slug, error in misconfigurations:
        if error:
            yield Warning(f"The source {slug} cannot be read.", hint=error.reason, id="portal.W014")


@register()
def check_positive_numbers(**_: Any) -> Iterator[CheckMessage]:
    """Durations, sizes and counts are positive, and no duration is longer than ten years."""
    for name in POSITIVE:
        if getattr(settings, name) <= 0:
            yield Error(f"{name} is not positive.", hint="Set it to a number above 0.", id="portal.E007")
        most = TEN_YEARS.get(name.rpartition("_")[2])
        if most is not None and getattr(settings, name) > most:
            yield Error(f"{name} is more than ten years.", hint=f"Set it to {most} at most.", id="portal.E007")
    if settings.PORTAL_XLSX_MAX_ROWS > XLSX_SHEET_ROWS:
        hint = f"Set it to {XLSX_SHEET_ROWS} at most: a sheet holds no more."
        yield Error("PORTAL_XLSX_MAX_ROWS is more than a sheet holds.", hint=hint, id="portal.E007")
    if settings.PORTAL_EXPORT_SECONDS > LONGEST_EXPORT_SECONDS:
        hint = f"Set it to {LONGEST_EXPORT_SECONDS} at most."
        yield Error("PORTAL_EXPORT_SECONDS is more than 7 days.", hint=hint, id="portal.E007")
    if settings.PORTAL_DB_CONN_MAX_AGE < 0:
        yield Error("PORTAL_DB_CONN_MAX_AGE is negative.", hint="Set it to 0 or more.", id="portal.E007")


@register(Tags.security)
def check_time_limits(**_: Any) -> Iterator[CheckMessage]:
    """Sessions and invitations end within a month, and the time without use is no longer than a session."""
    for name in ("PORTAL_SESSION_HOURS", "PORTAL_INVITATION_HOURS"):
        if getattr(settings, name) > LONGEST_HOURS:
            hint = f"Set it to {LONGEST_HOURS} at most, which is 30 days."
            yield Error(f"{name} is more than 30 days.", hint=hint, id="portal.E016")
    if settings.PORTAL_SESSION_IDLE_MINUTES > settings.PORTAL_SESSION_HOURS * 60 > 0:
        hint = "Set it to fewer minutes than PORTAL_SESSION_HOURS has, or let sessions last longer."
        yield Error("PORTAL_SESSION_IDLE_MINUTES is longer than a session.", hint=hint, id="portal.E016")


@register(Tags.security)
def check_allowed_hosts(**_: Any) -> Iterator[CheckMessage]:
    """The hosts that may be called are hosts, not URLs or patterns."""
    for name, (example, error_id) in HOST_LISTS.items():
        for entry in getattr(settings, name):
            if not parse_allowed_host(entry)[0]:
                hint = f"List host names or addresses, with commas between them: {example}. {ABOUT_PORTS}"
                yield Error(f"{name} contains {entry!r}, which is not a host.", hint=hint, id=error_id)


@register(Tags.security)
def check_credential_prefix(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_CREDENTIAL_PREFIX is a prefix that no variable of the portal itself has."""
    prefix = settings.PORTAL_CREDENTIAL_PREFIX
    variables = sorted(name for name in settings.PORTAL_VARIABLES if name.startswith(prefix))
    if not PREFIX.fullmatch(prefix) or variables:
        problem = f"is also how {variables[0]} begins" if PREFIX.fullmatch(prefix) else "is no prefix"
        yield Error(
            f"PORTAL_CREDENTIAL_PREFIX {problem}.",
            hint="Set it to at least four letters, digits and _, with _ at the end, such as PORTAL_VENDOR_: variables "
            "whose names begin so may be sent to vendors, and no others.",
            id="portal.E015",
        )


@register()
def check_rates(**_: Any) -> Iterator[CheckMessage]:
    """The rate limits are rates."""
    for name in RATES:
        if parse_rate(getattr(settings, name)) is None:
            yield Error(f"{name} is not a rate.", hint=f"Set it to {RATES_ALLOWED}.", id="portal.E009")


@register(Tags.security)
def check_openid_provider(**_: Any) -> Iterator[CheckMessage]:
    """The OpenID provider has an https URL, a client id and a secret, and its groups map to existing roles."""
    if settings.PORTAL_OIDC_ISSUER and not is_trusted_url(settings.PORTAL_OIDC_ISSUER):
        yield Error(
            "PORTAL_OIDC_ISSUER is not an https URL.",
            hint="Set it to the issuer as the provider writes it, such as https://login.example.com/company.",
            id="portal.E010",
        )
    for name in ("PORTAL_OIDC_CLIENT_ID", "PORTAL_OIDC_CLIENT_SECRET"):
        if settings.PORTAL_OIDC_ISSUER and not getattr(settings, name):
            yield Error(
                f"{name} is missing.", hint="Set it to what the provider has issued to the portal.", id="portal.E011"
            )
    for domain in settings.PORTAL_OIDC_DOMAINS:
        if not is_address(f"user@{domain}"):
            yield Error(
                f"PORTAL_OIDC_DOMAINS contains {domain!r}, which is not a domain.", hint=DOMAINS_HINT, id="portal.E023"
            )
    unknown = sorted(set(parse_group_roles().values()) - set(ROLES))
    if unknown:
        yield Error(
            "PORTAL_OIDC_GROUPS names a role that does not exist.",
            hint=f"List groups of the provider as group=role, with commas between them; roles are {', '.join(ROLES)}.",
            id="portal.E012",
        )


def is_address(text: str) -> bool:
    """Return whether a text is an e-mail address."""
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


@register()
def check_sender(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_EMAIL_FROM is an e-mail address, with or without a name."""
    if settings.PORTAL_EMAIL_URL and not is_address(parseaddr(settings.DEFAULT_FROM_EMAIL)[1]):
        yield Error(
            "PORTAL_EMAIL_FROM is not an e-mail address.",
            hint="Set it like portal@example.com, or Usage portal <portal@example.com>.",
            id="portal.E024",
        )


@register(Tags.security)
def check_sentry(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_SENTRY_DSN is the address of a project, and the library is installed."""
    if not settings.PORTAL_SENTRY_DSN:
        return
    if not error_reports.is_installed():
        hint = "Install sentry-sdk, the extra `sentry` of the portal, or leave the variable unset."
        yield Error("PORTAL_SENTRY_DSN needs a library that is not installed.", hint=hint, id="portal.E018")
    elif not error_reports.is_dsn(settings.PORTAL_SENTRY_DSN):
        hint = "Set it to the DSN of a project, such as https://key@sentry.example.com/1."
        yield Error("PORTAL_SENTRY_DSN is not the address of a project at Sentry.", hint=hint, id="portal.E018")


@register(Tags.security)
def check_traces(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_TRACES_URL is the address of a collector, and the library is installed."""
    if not settings.PORTAL_TRACES_URL:
        return
    if not traces.is_installed():
        hint = "Install the extra `traces` of the portal, or leave the variable unset."
        yield Error("PORTAL_TRACES_URL needs a library that is not installed.", hint=hint, id="portal.E021")
    elif not traces.is_collector(settings.PORTAL_TRACES_URL):
        hint = "Set it to where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces."
        yield Error("PORTAL_TRACES_URL is not the address of a collector.", hint=hint, id="portal.E021")


@register(Tags.security)
def check_host_names(**_: Any) -> Iterator[CheckMessage]:
    """ALLOWED_HOSTS lists host names; with e-mail it is no wildcard: links in mails use the host name of a request."""
    for entry in settings.ALLOWED_HOSTS:
        if not HOST_NAME.fullmatch(entry):
            yield Error(
                f"ALLOWED_HOSTS contains {entry!r}, which is not a host name.",
                hint="List the names that the portal is reached by, without https:// and port, with commas between: "
                "portal.example.com,10.0.0.5.",
                id="portal.E013",
            )
    if settings.PORTAL_EMAIL_URL and "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS accepts every name, and the portal sends mail with links to itself.",
            hint="List the host names that the portal is reached by, with commas between them.",
            id="portal.E013",
        )
