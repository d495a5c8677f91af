"""Judge the paper's claims on a measured landscape."""
