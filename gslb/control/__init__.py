"""What keeps a node going: state on disk, processes, observation, and the hand-out of plans."""
