"""What three wings or more use: errors, text, seeds, files, progress, the style of figures."""
