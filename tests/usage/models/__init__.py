"""Tests of usage/models."""
