"""Tests of sync/mirrors."""
