"""`/metrics`: figures for Prometheus, which are the same whichever process or host answers (docs/monitoring.md)."""
