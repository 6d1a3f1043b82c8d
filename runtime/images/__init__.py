"""Images: where they come from, and how they become a root file system."""
