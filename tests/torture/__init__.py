"""Try to break the command line: kill it, damage its files, fill its disk, and ask it for what cannot be."""
