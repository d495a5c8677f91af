"""The smallest survey that still does everything."""

NUMBERS = [
    "--directions", "2", "--windows", "2", "--test-windows", "1", "--seq-len", "32", "--lambda-count", "4",
    "--alphas", "3", "--refinements", "2", "--calibration-windows", "2", "--qaft-examples", "3", "--qaft-rates", "1e-4",
]  # fmt: skip
