"""Models that a client may ask for."""
