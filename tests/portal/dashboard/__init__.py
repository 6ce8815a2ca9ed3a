"""Tests of portal/dashboard."""
