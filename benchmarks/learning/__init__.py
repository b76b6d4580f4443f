"""Learning experiments: arms, seeds and statistics."""
