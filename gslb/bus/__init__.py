"""What nodes tell one another: messages, their merge, replicated keys, leases."""
