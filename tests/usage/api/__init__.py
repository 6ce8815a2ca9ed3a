"""Tests of usage/api."""
