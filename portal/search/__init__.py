"""The search of the staff's site: each person finds what they may see, and no more."""
