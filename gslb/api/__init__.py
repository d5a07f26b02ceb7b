"""The HTTP API, the metrics and the page of a node."""
