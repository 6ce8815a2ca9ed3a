"""Ona: which environments ran, for whom and how long."""
