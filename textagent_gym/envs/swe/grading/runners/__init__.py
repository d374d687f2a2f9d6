"""Programs that run tests in the sandbox: a common part, and one runner with pytest and one without."""
