"""The lake: complete days as Apache Iceberg tables, for engines that read more than PostgreSQL serves.

Needs the extra `lake` and PORTAL_LAKE_URL. The lake itself is the only record of what was published: its table `days`
describes for every day what the tables of usage have. So nothing else has to agree with it after a publisher is killed.
"""

from importlib.util import find_spec

from django.conf import settings


def is_installed() -> bool:
    """Return whether the extra `lake` is installed."""
    return all(find_spec(name) is not None for name in ("pyiceberg", "pyarrow", "sqlalchemy"))


def is_enabled() -> bool:
    """Return whether days are published."""
    return bool(settings.PORTAL_LAKE_URL)


class LakeUnavailable(Exception):
    """The lake cannot be read or written now; the message says why."""


def require_lake() -> None:
    """Raise LakeUnavailable where there is no lake, or the extra `lake` is not installed."""
    if not is_enabled():
        raise LakeUnavailable("PORTAL_LAKE_URL is not set: there is no lake.")
    if not is_installed():
        raise LakeUnavailable("The extra `lake` of the portal is not installed here.")
