"""Shaping: at which pace, over how many connections and from which source each site gets its mail."""
