"""The pure core: deployment, geography and world in, a plan out.  No IO, no clock, no randomness, no logging."""
