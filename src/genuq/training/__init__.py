"""Training networks, judges and ensembles with Lightning; nothing here knows Hydra."""
