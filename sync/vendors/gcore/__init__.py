"""Gcore: what every resource consumed, by the day (docs/vendors/gcore.md)."""
