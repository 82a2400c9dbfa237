"""What is read at TokPortal, one file for each."""
