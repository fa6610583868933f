"""The real SDK packages against the endpoint. `nox -s metering` installs them and runs this."""
