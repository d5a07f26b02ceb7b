"""What commands and the API both do: look into a node, explain an answer, write an override."""
