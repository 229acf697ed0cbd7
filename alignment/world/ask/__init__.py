"""What is asked in the town, and how it is answered."""
