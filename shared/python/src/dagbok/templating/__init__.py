"""Jinja for an operator's template fields. Jinja itself is imported when a field needs it."""
