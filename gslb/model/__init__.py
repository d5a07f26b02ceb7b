"""The words of the system as frozen values.  Pure: no IO, no clock, no randomness, no logging."""
