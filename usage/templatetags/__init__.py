"""What the templates of the staff pages need besides Django's own."""
