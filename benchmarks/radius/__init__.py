"""Count how often the intervals of R hold, and what R costs."""
