"""The schedule: which delivery goes next, and when a deferred one goes again."""
