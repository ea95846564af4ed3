"""Inputs and tolerances shared by the tests and the benchmarks."""
