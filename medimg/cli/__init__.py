"""The command line's entry: finds commands, and turns expected failures into text."""
