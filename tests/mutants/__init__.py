"""Every small change to a module of the core should make one of its tests fail."""
