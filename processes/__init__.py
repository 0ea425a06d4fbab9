"""Several processes of one program under one: what web and workers share of being many."""
