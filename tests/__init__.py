"""The tests, one folder per package; a package itself, so that files of one name can stand in two folders."""
