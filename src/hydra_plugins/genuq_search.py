"""Where Hydra looks for sweepers: it takes a plugin from the namespace `hydra_plugins` alone."""

from genuq.config.optuna_sweeper import OptunaSweeper


class SearchSweeper(OptunaSweeper):
    """What `hydra/sweeper=search` chooses."""
