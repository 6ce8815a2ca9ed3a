"""The engine: plan, claim, read, merge, guard, verify, record (docs/architecture.md)."""
