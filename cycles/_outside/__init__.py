"""What arrives from outside while code runs, told apart from what the code itself raises. It knows nothing else."""
