"""Report a study: tables for the terminal, JSON, figures, and one page."""
