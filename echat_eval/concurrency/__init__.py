"""Event loop, threads, limits, work queues and retries."""
