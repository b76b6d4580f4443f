"""Parts of a call that every folder needs: names, argument JSON, cache key, episode state."""
