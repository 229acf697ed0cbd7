"""The gold judge and the simulated annotators."""
