"""Real editors: getting them onto the machine, and driving them without a window."""
