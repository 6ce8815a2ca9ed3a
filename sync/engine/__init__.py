"""The engine: plan, claim, read, merge, guard, verify, record (design.md, The engine)."""
