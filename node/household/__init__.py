"""What a home decides: publish, sell, buy."""
