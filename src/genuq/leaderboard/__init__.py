"""The leaderboard: scores of saved samples whose truth is known, beside the controls and what each of them costs."""
