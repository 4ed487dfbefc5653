"""Mutation testing of the core: mutmut makes the mutants, the test suite judges them."""
