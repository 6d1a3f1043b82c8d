"""What a host lacks to run containers, and what crashes left on it that nothing else takes away."""
