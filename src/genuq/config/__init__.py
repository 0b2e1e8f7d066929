"""What the user typed: schemas, composition, sweeps, searches, and what was finished before."""
