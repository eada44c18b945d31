"""Rating sheets for human raters, and the collected ratings."""
