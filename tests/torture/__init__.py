"""Torture: kills, flips, hostile input and sharing, through the real command line."""
