"""Files: JSON Lines, strict YAML, CSV cells, audio, atomic writing, hashing, bundled models."""
