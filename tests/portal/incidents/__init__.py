"""Tests of portal/incidents."""
