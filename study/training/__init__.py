"""Head configurations and rows -> learning curves and weights, many heads at a time."""
