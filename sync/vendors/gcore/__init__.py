"""Gcore: what every resource consumed, by the day (contracts.md, Gcore)."""
