"""Who people are called: the address book of a home, and what homes sign about their own name."""
