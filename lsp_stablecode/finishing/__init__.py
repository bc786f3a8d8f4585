"""From what a model wrote to what is worth showing, step by step."""
