"""Rating sheets for people, and the ratings that come back."""
