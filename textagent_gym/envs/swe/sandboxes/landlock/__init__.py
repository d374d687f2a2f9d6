"""The Landlock tier, for hosts that permit no namespaces: file rules, system-call filters, and a runner."""
