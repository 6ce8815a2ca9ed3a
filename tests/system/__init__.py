"""Tests that need Debian's programs; `make test-system` installs those and runs them, `make test` leaves them out."""
