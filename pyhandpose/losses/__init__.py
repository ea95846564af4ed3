"""From predictions to a scalar."""
