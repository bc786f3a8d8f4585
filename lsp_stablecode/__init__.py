"""An editor language server for code completion with a local model."""

__version__ = "0.1.0"
