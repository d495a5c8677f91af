"""Hold what every command needs: model, text, store, runner, points."""
