"""Benchmarks: `make bench` runs them and writes bench-results/<name>.md and .json; each entry is one module."""
