"""Background work: one schedule for a client's heartbeats and settlements, and the last drain at exit."""
