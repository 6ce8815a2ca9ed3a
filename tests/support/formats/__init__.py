"""Made-up formats of exports, as docs/adding-an-export-format.md has them."""
