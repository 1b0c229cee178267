"""Ways to balance the training part, one a file."""
