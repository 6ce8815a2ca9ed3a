"""What usage is, and how it is asked for."""
