"""The town: who lives there, and what is written about them."""
