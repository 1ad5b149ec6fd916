"""The demo's world: a seeded stream of posts and a local endpoint that answers about them."""
