"""Episodes: parsing actions, applying responses, observations, snapshots."""
