"""Tests of sync/http."""
