"""gslb: global DNS load balancing with anycast, in one program."""

__version__ = "0.1.0"
