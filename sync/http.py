"""The one way out of the portal: HTTP to a vendor, bounded, retried, rate limited and only to allowed hosts."""


class VendorHTTP:
    """Interface to be written."""
