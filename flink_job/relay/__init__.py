"""Feeds a topic of Kafka from a live public stream of posts: Bluesky, by its Jetstream."""
