"""Anycast routes: what is announced to which router, and ExaBGP, which says so."""
