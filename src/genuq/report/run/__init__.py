"""The page and files of one run."""

RESULTS = "results.json"  # in the folder of a report
