"""Read files that anyone may have written, and write files that are whole, whoever shares the folder."""
