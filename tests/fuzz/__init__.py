"""Coverage-guided fuzzing of everything that a stranger's cassette goes through."""
