"""The command `genuq` and its sub-commands."""
