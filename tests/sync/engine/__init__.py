"""Tests of sync/engine."""
