"""Data structures and the work on files that every other part of medimg stands on."""
