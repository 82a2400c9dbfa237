"""A small world that a newcomer can watch: five countries, a campaign, and everything that may go wrong in it."""
