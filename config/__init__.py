"""Settings and the district's data: everything an operator may change without touching code."""
