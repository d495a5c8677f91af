"""Load token windows by name: text files, data sets, or samples of the model itself."""
