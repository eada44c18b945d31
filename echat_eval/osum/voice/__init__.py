"""token2wav: the voice of OSUM-EChat."""
