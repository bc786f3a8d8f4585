"""Measures of how good completions are, on published benchmarks."""
