"""Write results into files that other programs open."""
