"""Who may be a member: keys, certificates, and the authority that signs them."""
