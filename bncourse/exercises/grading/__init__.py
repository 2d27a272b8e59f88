"""Grades a folder of notebooks that nobody trusts."""
