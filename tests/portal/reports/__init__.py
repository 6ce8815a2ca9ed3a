"""Tests of portal/reports."""
