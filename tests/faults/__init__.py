"""Daemons that lie. Their behaviours live here alone: the product has no switch for them."""
