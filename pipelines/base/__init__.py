"""What every room stands on: files made safely, errors, processes, progress, seeds, terms."""
