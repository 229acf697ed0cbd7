"""Files to rows: what is unreadable is set aside with file and line."""
