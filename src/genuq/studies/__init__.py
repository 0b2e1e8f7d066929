"""Runs taken together: how a study is declared, its tables and figures, its page, its dashboard."""
