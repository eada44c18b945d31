"""The engine: prompts in, replies out, over one or several workers."""
