"""Where one can be: directions, selections, parts of Δw, and the atlas that turns positions into weights."""
