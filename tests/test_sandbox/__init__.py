"""The sandbox server."""
