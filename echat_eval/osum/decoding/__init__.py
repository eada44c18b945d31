"""Decoding: states, sampling, slots, the scheduler and CUDA graphs."""
