"""Tests of sync/vendors."""
