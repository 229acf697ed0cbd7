"""What a reward model's scores of held-out answers say, each figure with its interval.  No torch."""
