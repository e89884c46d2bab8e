"""Servers for the tests: their own PostgreSQL and two Valkeys, on free ports."""
