"""Planning in a household: goals, a model, lower bounds, and shortest plans."""
