"""What a person writes: YAML -> Suite, what the command line changes in it, and suites as text."""
