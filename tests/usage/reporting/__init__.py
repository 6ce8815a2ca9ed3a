"""The views for reports, read over connections of the roles that read them."""
