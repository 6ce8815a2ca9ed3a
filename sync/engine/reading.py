"""Reading: a vendor's reader made ready for one source, with its credential, its hosts and its rate limit."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

from sync.errors import AuthenticationRefused, SyncError
from sync.http import Bounds, VendorHTTP
from sync.limiter import SourceLimiter
from sync.vendors import readers
from sync.vendors.base import Account, VendorReader
from usage.models import Source


@contextmanager
def open_reader(
    source: Source, before_request: Callable[[], None] | None = None, bounds: Bounds | None = None
) -> Iterator[VendorReader]:
    """Yield the reader of a source, connected for the time of the block.

    `before_request` is called before every request; `bounds` are those of the settings unless given. Raises
    SyncError for an unknown vendor or wrong options, AuthenticationRefused where no credential is at hand,
    HostNotAllowed for a base URL that is not the vendor's.
    """
    vendor = reader_type(source)
    account = Account(source.slug, source.zone, source.options)
    limiter = SourceLimiter(source.slug, source.requests_per_minute) if source.requests_per_minute else None
    with VendorHTTP(
        source.base_url,
        vendor.authorization(credential(source)),
        hosts=vendor.hosts,
        allowed_hosts=settings.PORTAL_ALLOWED_VENDOR_HOSTS,
        bounds=bounds or Bounds.from_settings(),
        limiter=limiter,
        before_request=before_request,
    ) as http:
        yield vendor(account, http)


def reader_type(source: Source) -> type[VendorReader]:
    """Return the reader class of a source's vendor; raises SyncError where the portal knows no such vendor."""
    known = readers()
    if source.vendor not in known:
        raise SyncError(f"{source.slug}: no vendor is named {source.vendor!r}; known are {', '.join(known)}.")
    return known[source.vendor]


def credential(source: Source) -> str:
    """Return the source's secret, from the database or the environment; raises AuthenticationRefused without one."""
    secret: str = source.credential
    if secret:
        return secret
    if not source.credential_env:
        raise AuthenticationRefused(
            f"{source.slug} has no credential; set one, or the name of a variable that holds it."
        )
    value = os.environ.get(source.credential_env, "")
    if not value:
        raise AuthenticationRefused(
            f"The environment variable {source.credential_env} is not set where the worker runs."
        )
    return value
