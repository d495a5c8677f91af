"""Make quantized points: RTN, GPTQ, AWQ, SignRound and QAFT."""
