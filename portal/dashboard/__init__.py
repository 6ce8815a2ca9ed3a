"""The staff's first page: usage of this month and last, how well each source does, and what needs a person."""
