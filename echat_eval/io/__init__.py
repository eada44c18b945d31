"""Files: JSON Lines, strict YAML, CSV cells, audio, atomic writes, hashing, data folders, bundled models."""
