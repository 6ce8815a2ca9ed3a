"""Tests of sync/vendors/ona."""
