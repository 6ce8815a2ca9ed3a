"""Workato Embedded: what every recipe used, by the hour (docs/vendors/workato.md)."""
