"""The page, tables and figures of many runs."""
