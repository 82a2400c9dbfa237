"""The HTTP API: reads the log and its read models, and puts commands into the journal. Its queries serve the command
line too, which need not wait for a web framework: import from the modules."""
