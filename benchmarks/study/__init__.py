"""Reproduce the figures of the paper on two models: measure, table, and the page page.md."""
