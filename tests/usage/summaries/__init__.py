"""Tests of usage/summaries."""
