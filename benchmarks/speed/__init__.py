"""Measure speed and memory as ratios: `make bench`, and README.md beside this file."""
