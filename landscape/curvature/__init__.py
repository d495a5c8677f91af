"""Answer "how curved is the floor of the basin, and how far does a quadratic describe it?"."""
