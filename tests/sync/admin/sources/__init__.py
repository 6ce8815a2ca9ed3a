"""Tests of the pages of sources."""
