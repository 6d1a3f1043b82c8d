"""The control loop: places instances, rolls releases. Pure deciders, one loop that acts, one leader at a time."""
