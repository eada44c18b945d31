"""Build and render leaderboards."""
