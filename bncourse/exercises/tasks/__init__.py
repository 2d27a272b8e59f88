"""One file for each exercise; its name is the exercise's id, and it defines ``EXERCISE``."""
