"""The real Timeloop programs: what they are given, what they print, and reading it back."""
