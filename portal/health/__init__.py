"""Whether the portal is alive, can answer requests, and does its work."""
