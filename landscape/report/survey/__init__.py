"""Draw and write the page of a survey."""
