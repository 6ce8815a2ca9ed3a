"""The directory: names beside the ids of usage, access to names of people, and lookups."""
