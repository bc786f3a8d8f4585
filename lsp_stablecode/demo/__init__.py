"""The demo: an editor of a few lines, its scenes, and how they are shown."""
