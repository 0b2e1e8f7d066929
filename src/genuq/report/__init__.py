"""The report of a run: one page that opens from disk, plots, tables, and the words that explain them."""
