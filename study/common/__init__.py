"""What three wings or more use: errors, text, seeds, files, progress, the look of figures."""
