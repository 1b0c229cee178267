"""Training: the epoch loop, learning-rate schedules and the learning-rate finder."""
