"""Tests of usage/exports."""
