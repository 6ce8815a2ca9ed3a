"""Requests to a vendor that are tried again at once."""

from tests.support.vendor_http import _without_waiting as _without_waiting
