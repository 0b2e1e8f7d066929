"""The page and files of one run."""
