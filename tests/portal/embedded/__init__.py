"""Tests of portal/embedded."""
