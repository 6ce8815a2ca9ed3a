"""Tests of usage/admin."""
