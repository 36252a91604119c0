"""Trainings that a client may ask for."""
