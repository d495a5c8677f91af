"""Weight vectors of quantized language models."""
