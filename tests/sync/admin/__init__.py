"""Tests of sync/admin."""
