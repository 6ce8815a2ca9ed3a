"""Django's PostgreSQL backend, with less to do for each request."""
