"""One run: its stages in their order, what each reads, and what is checked before the first one starts."""
