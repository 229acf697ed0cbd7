"""Where known data sets come from, and their licences."""
