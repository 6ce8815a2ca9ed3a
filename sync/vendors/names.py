"""The names of a vendor's ids, as a reader passes them to the engine: one listing for each kind."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sync.errors import CredentialError, ErrorCode, RequestRejected
from usage.models import NameKind

# The credential has no right to the listing, or the vendor does not have it: both concern the listing alone.
REFUSALS = frozenset({ErrorCode.PERMISSION_MISSING, ErrorCode.ENDPOINT_NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Name:
    """The name of one id; `is_gone`: the vendor lists the id as deleted."""

    vendor_id: str
    name: str
    email: str = ""
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class NameListing:
    """All names of one kind, or why they cannot be read (`refused`): then the stored names of the kind stay.

    `members`: of teams and groups, the ids of the users by the id of the team or group. None where they are unknown,
    for the reason in `members_refused` if there is any; then stored memberships stay.
    """

    kind: NameKind
    names: list[Name] = field(default_factory=list)
    refused: str = ""
    members: Mapping[str, list[str]] | None = None
    members_refused: str = ""


def read_listing(kind: NameKind, read: Callable[[], Iterable[Name]]) -> NameListing:
    """Return the listing of the names that `read` returns, a refused listing where the vendor refuses them."""
    try:
        return NameListing(kind, list(read()))
    except (CredentialError, RequestRejected) as error:
        return NameListing(kind, refused=get_refusal(error))


def get_refusal(error: CredentialError | RequestRejected) -> str:
    """Return why a listing cannot be read; raises the error where it concerns more than the listing."""
    if error.code not in REFUSALS:
        raise error
    return error.reason
