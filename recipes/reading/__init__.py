"""From a recipe's text to checked values; knows no stage."""
