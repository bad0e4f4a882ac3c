"""Commands of the network provider, who is no member: its certificate authority."""
