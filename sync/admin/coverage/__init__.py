"""Coverage: a calendar of every source's days, what is known of each, and syncing a range of them."""
