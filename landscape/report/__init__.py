"""How a result is told: as figures, one page, tables, sentences and JSON. Nothing here measures or estimates."""
