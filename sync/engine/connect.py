"""Connect: open the reader of a source's vendor with its credential, allowed hosts and rate limit."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

from sync.engine.claim import get_database_time
from sync.errors import CredentialError, ErrorCode, SourceMisconfigured, SyncError
from sync.http import Bounds, VendorHTTP
from sync.limiter import SourceLimiter
from sync.vendors import readers
from sync.vendors.base import Account, VendorReader
from usage.fields import LockedText
from usage.models import Source


@contextmanager
def open_reader(
    source: Source, before_request: Callable[[], None] | None = None, bounds: Bounds | None = None
) -> Iterator[VendorReader]:
    """Yield the reader of a source, connected for the time of the block.

    `before_request` is called before every request; `bounds` are those of the settings by default. Raises
    SyncError for an unknown vendor or wrong options, SourceMisconfigured as `find_misconfiguration`,
    CredentialError without a credential, HostNotAllowed for a base URL that is not the vendor's.
    """
    if error := find_misconfiguration(source):
        raise error
    if not isinstance(source.options, dict):
        raise SyncError(f"The options of {source.slug} are no JSON object.", code=ErrorCode.OPTIONS_INVALID)
    vendor = get_reader_class(source)
    account = Account(source.slug, source.zone, source.options, source.look_back_days, get_database_time())
    limiter = SourceLimiter(source.slug, source.requests_per_minute) if source.requests_per_minute else None
    with VendorHTTP(
        source.base_url,
        vendor.build_authorization(get_credential(source)),
        hosts=vendor.hosts,
        allowed_hosts=settings.PORTAL_ALLOWED_VENDOR_HOSTS,
        bounds=bounds,
        limiter=limiter,
        before_request=before_request,
    ) as http:
        yield vendor(account, http)


def find_misconfiguration(source: Source) -> SourceMisconfigured | None:
    """Return why a source cannot be read as it is set up, whatever the vendor does; None where it can."""
    if isinstance(source.credential, LockedText):
        return SourceMisconfigured(
            f"No key in PORTAL_ENCRYPTION_KEYS opens the credential of {source.slug}: add the key that it was stored "
            "with behind the first one and start the portal anew, or give the source its credential again; then "
            "resume the source.",
            code=ErrorCode.CREDENTIAL_LOCKED,
        )
    if problem := find_variable_problem(source.credential_env):
        reason = f"{problem} Give the source another one, then resume the source."
        return SourceMisconfigured(reason, code=ErrorCode.VARIABLE_NOT_ALLOWED)
    if not source.zone_exists:
        return SourceMisconfigured(
            f"The time zone {source.time_zone!r} of {source.slug} is not in the zone database of this machine: "
            "install a complete one (tzdata), then resume the source.",
            code=ErrorCode.TIME_ZONE_UNKNOWN,
        )
    return None


def find_variable_problem(name: str) -> str:
    """Return why an environment variable is never sent to a vendor; "" where it may be, and for no name.

    The environment also holds the secrets of the portal and of other programs.
    """
    prefix = settings.PORTAL_CREDENTIAL_PREFIX
    if not name or (name.startswith(prefix) and name != prefix):
        return ""
    return f"{name} does not begin with {prefix}: only such variables are sent to a vendor."


def get_reader_class(source: Source) -> type[VendorReader]:
    """Return the reader class of a source's vendor; raises SyncError where the portal knows no such vendor."""
    reader_classes = readers()
    if source.vendor not in reader_classes:
        reason = f"No vendor is named {source.vendor!r}; known are {', '.join(reader_classes)}."
        raise SyncError(reason, code=ErrorCode.VENDOR_UNKNOWN)
    return reader_classes[source.vendor]


def get_credential(source: Source) -> str:
    """Return the source's secret, from the database or the environment; raises CredentialError without a secret."""
    if source.credential:
        return str(source.credential)
    if not source.credential_env:
        reason = f"{source.slug} has no credential; set one, or the name of a variable that holds it."
        raise CredentialError(reason, code=ErrorCode.CREDENTIAL_MISSING)
    value = os.environ.get(source.credential_env, "")
    if not value:
        reason = f"The environment variable {source.credential_env} is not set where the worker runs."
        raise CredentialError(reason, code=ErrorCode.CREDENTIAL_MISSING)
    return value
