"""From predictions to the numbers that papers print."""
