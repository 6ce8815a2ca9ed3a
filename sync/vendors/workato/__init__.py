"""Workato Embedded: what every recipe used, by the hour (contracts.md, Workato Embedded)."""
