"""Write the figures, the page and the files of a study; nothing is evaluated and no model is loaded."""
