"""Report results: as figures, pages, tables, sentences and JSON. Nothing here measures or estimates."""
