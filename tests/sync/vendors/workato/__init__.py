"""Tests of sync/vendors/workato."""
