"""Checks of targets: when, how, and what their results amount to."""
