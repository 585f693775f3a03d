"""What lies in a data set: faults, counts, pictures."""
