"""Draw and write the page of an anatomy."""
