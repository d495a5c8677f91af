"""Train small language models of several families, on which the toolkit was not tuned."""
