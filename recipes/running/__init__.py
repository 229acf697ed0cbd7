"""What walks a plan: the run's folder, its records, fingerprints, the runner, the page."""
