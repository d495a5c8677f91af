"""Measure what this project claims: one folder a page, with the scripts, the rows and the page that is made of them."""
