"""Hold the statements of the paper against measurements on two small models."""
