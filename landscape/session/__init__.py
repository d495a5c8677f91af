"""Open the model, text and store of a command, and evaluate and make what it asks for."""
