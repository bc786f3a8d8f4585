"""What goes into a prompt besides the cursor's own window."""
