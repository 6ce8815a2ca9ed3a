"""The programs that are measured, each a process of its own that waits for the start (lane.py)."""
