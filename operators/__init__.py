"""How an event is decided and how the cascade learns."""
