"""What the announcer's ports are in this world."""
