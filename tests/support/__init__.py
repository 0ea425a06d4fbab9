"""What tests of the whole service share: it runs, somebody calls it, its books are looked at."""
