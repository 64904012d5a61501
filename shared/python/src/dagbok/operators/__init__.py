"""The operators that ship with the package."""
