"""What the tests share: real servers, vendors, clients and data."""
