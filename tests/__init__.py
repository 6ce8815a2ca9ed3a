"""The tests: one file per behaviour, on the real things."""
