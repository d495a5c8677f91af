"""Compare RTN, GPTQ and QAFT on real models."""
