"""Summaries: grouped sums of usage, exact, with totals of the whole filter and a word on how far to trust them."""
