"""OSUM-EChat, re-implemented for inference: from audio to text, speech tokens and a voice."""
