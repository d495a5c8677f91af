"""Answer "what is Δw of one point made of, and which part costs the loss?"."""
