"""What is evaluated, and the oracles that set floors and ceilings."""
