"""What is left of scored images: the table, the page, and those that are kept."""
