"""Mirrors: the portal's records, answered in a vendor's own API."""
