"""Whether the portal lives, can answer requests, and does its work."""
