#!/usr/bin/env bash
# optuna 5.0.0: a journal whose last writer was killed in the middle of a line can be read until the next write, and
# never again after it.
#
# The journal is the storage that Optuna recommends for many processes on a shared disk, where jobs get killed. A line
# that was cut short is passed over while it is the last one, so that the study seems to have survived: it opens, it
# lists its trials. The next record, though, is appended to the torn line itself, and from then on opening the study
# raises JSONDecodeError, with every earlier trial out of reach. SQLite, the storage without the recommendation, rolls the torn
# write back. Whoever resumes after a kill has to cut the file after its last line feed before anything is written.
#
# Seen (optuna 5.0.0, Python 3.11):
#   whole: 5 trials
#   torn in its last line, opened: 5 trials
#   torn, after one more trial: JSONDecodeError
#   cut after the last line feed, after one more trial: 6 trials
