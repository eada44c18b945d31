"""Live systems behind a WebSocket: dialects as data, one session for all of them."""
