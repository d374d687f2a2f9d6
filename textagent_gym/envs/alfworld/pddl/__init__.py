"""PDDL and ALFWorld's text grammar: read, compiled, and queried."""
