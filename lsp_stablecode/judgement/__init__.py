"""Whether a suggestion is worth showing, and how much of it. Pure but for `habits`."""
