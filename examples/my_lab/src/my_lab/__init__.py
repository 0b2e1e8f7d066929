"""A lab's own parts for genuq, one in each file; pyproject.toml names them to genuq."""
