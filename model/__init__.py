"""The model side: tokens, tensors and prompts, and nothing of editors."""
