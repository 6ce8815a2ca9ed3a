"""The directory: names beside the ids of usage, who may see those of people, and how they are looked up."""
