"""Exchange: suites, runs and demonstrations as data sets of the Hugging Face hub."""
