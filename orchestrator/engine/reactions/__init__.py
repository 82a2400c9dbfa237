"""What follows from a message: the policies' advice, turned into events, commands, timers and further work."""
