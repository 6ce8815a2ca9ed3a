"""Faults of the vendors, kills of the portal's programs and restatements, all at once and by a seed; see __main__.py."""
