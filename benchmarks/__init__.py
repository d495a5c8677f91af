"""Measure what this project claims: one folder per page, with the scripts, the rows and the page made of them."""
