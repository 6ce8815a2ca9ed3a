"""Usage: its models, API, summaries, exports and pages."""
