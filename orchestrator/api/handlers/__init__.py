"""What answers requests, one file for each thing, with the descriptions of its operations at its end."""
