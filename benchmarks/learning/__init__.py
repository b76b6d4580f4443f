"""Learning experiments: arms, seeds and their statistics."""
