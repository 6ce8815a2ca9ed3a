"""Tests of sync/vendors/gcore."""
