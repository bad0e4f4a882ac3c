"""Links to the other members, and the messages on them."""
