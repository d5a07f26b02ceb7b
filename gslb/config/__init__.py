"""From `gslb.yaml` and zone files to the model, with every problem found in one pass."""
