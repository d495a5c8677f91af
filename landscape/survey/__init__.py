"""Answer "how does the landscape look around w and its quantized points?"."""
