"""Signing in, by django-allauth: with a password and a second factor, or through the company's OpenID provider.

Nobody signs up by themselves: administrators make local accounts, and who comes from the provider gets one that may do
what the groups of their claims give (`oidc.py`), which is nothing where none is mapped.
"""
