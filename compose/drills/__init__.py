"""What a bad day does to the lab, while clients keep asking and fetching; a timeline, and a score."""
