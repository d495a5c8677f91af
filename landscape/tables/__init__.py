"""Lay results out as tidy tables, which pandas, polars, R and spreadsheets read as they are."""
