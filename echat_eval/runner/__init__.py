"""The three stages of a run: respond, annotate, score."""
