"""One file per system: how parts make a method that can be trained."""
