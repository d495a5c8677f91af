"""Estimate radius, basin, intervals and connectivity from arrays of losses; numpy and scipy alone."""
