"""Benchmarks: what each part costs, as ratios measured side by side in one run. The command `genuq bench`."""
