"""The admin pages of incidents and channels."""

from portal.incidents.admin import channels, incidents

__all__ = ["channels", "incidents"]
