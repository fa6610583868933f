"""What lies around the package: exceptions from outside, forks, the installation, URLs. It imports no other room."""
