"""Measure models × grids × methods: the matrix of Xu et al. 2024."""
