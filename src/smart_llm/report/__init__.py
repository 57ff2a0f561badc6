"""Certificate text and reports."""
