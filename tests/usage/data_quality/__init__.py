"""Tests of how far an answer can be trusted."""
