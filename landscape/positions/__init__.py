"""Name positions in the weight space, and turn them into weights: directions, selections, parts of Δw, the atlas."""
