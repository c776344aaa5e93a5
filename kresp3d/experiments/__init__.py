"""Many trainings, each in a process of its own: what they share."""
