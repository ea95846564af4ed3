"""One file per table or figure: runs methods over settings, writes a table and a plot."""
