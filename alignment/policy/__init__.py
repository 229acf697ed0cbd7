"""A policy: a model with the tokenizer that it was trained with."""
