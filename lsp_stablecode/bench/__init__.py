"""Measuring speed: the engine, typing through the server, drafts; beside its peers."""
