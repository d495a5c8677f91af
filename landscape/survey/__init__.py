"""Measure the landscape around w and its quantized points: request, plans, analysis, result."""
