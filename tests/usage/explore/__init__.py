"""Tests of usage/explore."""
