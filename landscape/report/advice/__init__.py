"""Report advice: words and tables for the terminal and the page, and JSON."""
