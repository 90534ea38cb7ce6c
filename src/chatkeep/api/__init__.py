"""HTTP: parses requests, calls the services, renders their results. It decides nothing else."""
