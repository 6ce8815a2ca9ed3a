"""Which workspaces a Workato source reads."""

from typing import Annotated, Any

import msgspec


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The workspaces to read, as a list or as text with commas; with neither, all that the account has.

    `max_ids_per_request`: the vendor asks for all workspaces in one request, so only more than this many are
    split over several requests.
    """

    workspace_ids: Annotated[
        list[int] | int | str,
        msgspec.Meta(
            title="Workspace ids",
            description="The customer workspaces to read: numbers with commas between them. Empty, and no external "
            "ids: all that the account has.",
        ),
    ] = ""
    external_ids: Annotated[
        list[str | int] | int | str,
        msgspec.Meta(
            title="External ids",
            description="Instead of workspace ids: the ids that you gave the workspaces, with commas between them.",
        ),
    ] = ""
    max_ids_per_request: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            title="Workspaces per request",
            description="The vendor asks for all workspaces in one request; only more than this many are split.",
        ),
    ] = 1000

    def __post_init__(self) -> None:
        """Raise ValueError where the ids are not ids, or of both kinds."""
        if self.parse_workspace_ids() and self.parse_external_ids():
            raise ValueError("give workspace_ids or external_ids, not both")

    def get_scope(self) -> tuple[str, list[int] | list[str]] | None:
        """Return the name of the option that has ids, with the ids; None without any."""
        if ids := self.parse_workspace_ids():
            return "workspace_ids", ids
        if externals := self.parse_external_ids():
            return "external_ids", externals
        return None

    def parse_workspace_ids(self) -> list[int]:
        """Return the workspace ids, without repetition."""
        try:
            return list(dict.fromkeys(int(text) for text in split_ids(self.workspace_ids)))
        except ValueError:
            raise ValueError("workspace_ids: numbers with commas between them are allowed") from None

    def parse_external_ids(self) -> list[str]:
        """Return the external ids, without repetition."""
        return split_ids(self.external_ids)


def split_ids(value: Any) -> list[str]:
    """Return ids as texts in their order, without repetition, from a list, a single id or a text with commas."""
    ids = value if isinstance(value, list) else str(value).split(",")
    return list(dict.fromkeys(text for vendor_id in ids if (text := str(vendor_id).strip())))
