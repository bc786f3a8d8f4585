"""An editor without a window, for the demo, evaluations and benchmarks."""
