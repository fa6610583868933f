"""The two thin ways to run a flow: `blocking` and `aio`. What they share is in `world`."""
