"""A server around OSUM-EChat: OpenAI's chat protocol with audio, and its Realtime protocol."""
