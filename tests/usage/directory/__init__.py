"""Tests of usage/directory."""
