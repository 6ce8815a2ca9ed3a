"""The Ona stand-in keeps the vendor's contract."""
