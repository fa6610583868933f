"""What goes on beside a program's own code: one schedule for a client's heartbeats and settlements, and the exit."""
