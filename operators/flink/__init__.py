"""The core inside Flink: process functions, an async function, keyed state."""
